import { beforeEach, describe, expect, test } from 'vitest'
import { type Controller, SETTLE, type SimulatedWorkload, World } from './world.ts'

let world: World
beforeEach(() => {
  world = new World()
  world.credential('wandb')
})

/** Goes on until there is nothing to do: rollouts make their progress, and time passes as it must. */
async function settle(controller: Controller, limit = 300) {
  for (let round = 0; round < limit; round++) {
    await controller.work()
    const open = world.underWay()
    for (const key of open) world.progress(key)
    controller.changedAll()
    const next = controller.next()
    if (open.length === 0 && next === undefined) return await controller.work()
    world.advance(1_000)
  }
}

const reasons = () => world.events.map(([workload, { type, reason }]) => `${workload} ${type} ${reason}`)
const key = ({ kind, namespace, name }: SimulatedWorkload) => `${kind}/${namespace}/${name}`

test('several edits are one restart, a settling time after the last', async () => {
  world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  for (let edit = 0; edit < 5; edit++) {
    world.advance(4_000)
    world.rotate('wandb')
    controller.changedAll()
    await controller.work()
  }
  const last = world.now
  await settle(controller)
  expect(world.patches).toHaveLength(1)
  expect(world.patches[0]).toMatchObject({ workload: 'Deployment/a/w', at: last + SETTLE })
  expect(world.patches[0]?.record).toMatch(/^Credential\/wandb@r6@2026-/)
  expect(reasons()).toEqual(['Deployment/w Normal RestartedForRotation'])
})

test('a start restarts nothing that was not rotated, and a second start nothing twice', async () => {
  world.add('a', 'w', ['wandb'])
  await settle(await world.start().begin())
  expect(world.requests).toEqual([])
  world.advance(1_000)
  world.rotate('wandb')
  const first = await world.start().begin()
  world.advance(SETTLE)
  await first.work()
  expect(world.patches).toHaveLength(1)
  first.kill()
  await settle(await world.start().begin())
  await settle(await world.start().begin())
  expect(world.patches).toHaveLength(1)
})

test('a rotation while no controller runs is one', async () => {
  world.add('a', 'w', ['wandb'])
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(3_600_000)
  await settle(await world.start().begin())
  expect(world.patches).toHaveLength(1)
})

test('the content comes back to what it was: that is a rotation too', async () => {
  const workload = world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  for (const revision of [2, 1, 2]) {
    world.advance(60_000)
    world.rotate('wandb')
    const credential = world.credentials.get('wandb')
    if (credential) credential.revision = revision
    controller.changedAll()
    await settle(controller)
  }
  expect(world.patches.map(({ record }) => /@(r\d)@/.exec(record)?.[1])).toEqual(['r2', 'r1', 'r2'])
  expect(world.rotationsOf(workload)).toEqual([])
})

test('one that is rolled back is left alone, and told once', async () => {
  const workload = world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(SETTLE)
  controller.changedAll()
  await controller.work()
  world.progress(key(workload))
  // Half of its pods are new when somebody takes it back.
  world.undo(key(workload))
  await settle(controller)
  await settle(await world.start().begin())
  expect(world.patches).toHaveLength(1)
  expect(reasons().filter((line) => line.endsWith('RestartUndone'))).toHaveLength(2)
  world.rotate('wandb')
  await settle(await world.start().begin())
  expect(world.patches).toHaveLength(2)
})

describe('a workload that cannot be restarted', () => {
  test.each<[string, (workload: SimulatedWorkload, is: boolean) => void, string]>([
    [
      'paused Deployment',
      (one, is) => {
        one.paused = is
      },
      'RolloutPaused',
    ],
    [
      'restarts paused',
      (one, is) => {
        one.restartPaused = is
      },
      'RestartPaused',
    ],
    [
      'OnDelete',
      (one, is) => {
        one.onDelete = is
      },
      'RestartsOnDelete',
    ],
  ])('%s: told once, and restarted when that has changed', async (_, set, reason) => {
    const workload = world.add('a', 'w', ['wandb'])
    world.change(workload, () => set(workload, true))
    workload.observed = workload.generation
    const controller = await world.start().begin()
    world.advance(1_000)
    world.rotate('wandb')
    await settle(controller)
    expect([world.patches.length, reasons()]).toEqual([0, [`Deployment/w Warning ${reason}`]])
    // Asked again now and then, not for each change of a pod: 300 of those there were.
    expect(world.requests.length).toBeLessThan(15)
    world.change(workload, () => set(workload, false))
    workload.observed = workload.generation
    await settle(controller)
    expect(world.patches).toHaveLength(1)
  })

  test('because all restarts are paused', async () => {
    world.add('a', 'w', ['wandb'])
    world.advance(1_000)
    world.rotate('wandb')
    await settle(await world.start({ isPaused: true }).begin())
    expect([world.patches.length, reasons()]).toEqual([0, ['Deployment/w Warning RestartPaused']])
    await settle(await world.start().begin())
    expect(world.patches).toHaveLength(1)
  })

  test('because the controller may not: nothing is even asked', async () => {
    world.add('a', 'w', ['wandb'])
    world.advance(1_000)
    world.rotate('wandb')
    await settle(await world.start({ restartWorkloads: false }).begin())
    expect([world.requests, reasons()]).toEqual([[], ['Deployment/w Warning RestartsOff']])
  })

  test.each([{ restartWorkloads: false }, { isPaused: true }])(
    'is told of, however many they are: %j',
    async (settings) => {
      for (let n = 0; n < 150; n++) world.add('a', `w${n}`, ['wandb'])
      world.advance(1_000)
      world.rotate('wandb')
      world.advance(SETTLE)
      await (await world.start(settings).begin()).work()
      expect(world.events).toHaveLength(150)
    },
  )

  test('does not wait for events when the controller ends', async () => {
    world.add('a', 'w', ['wandb'])
    world.advance(1_000)
    world.rotate('wandb')
    world.advance(SETTLE)
    const controller = await world.start({ restartWorkloads: false }).begin()
    controller.eventsAreSent = new Promise(() => {})
    const work = controller.work()
    await Promise.resolve()
    controller.kill()
    await work
    expect(reasons()).toEqual(['Deployment/w Warning RestartsOff'])
  })

  test('of a kind that is never restarted', async () => {
    world.add('a', 'job', ['wandb'], 1, 'Job')
    world.add('a', 'pod', ['wandb'], 1, 'Pod')
    world.advance(1_000)
    world.rotate('wandb')
    await settle(await world.start().begin())
    expect([world.requests, world.events]).toEqual([[], []])
  })
})

test('the template’s wish wins over the credential', async () => {
  world.credential('never', false)
  const not = world.add('a', 'not', ['wandb'])
  const yes = world.add('a', 'yes', ['never'])
  world.add('a', 'no-wish', ['never'])
  not.wish = false
  yes.wish = true
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.rotate('never')
  await settle(controller)
  expect(world.patches.map(({ workload }) => workload)).toEqual(['Deployment/a/yes'])
  expect(world.requests.some((path) => path.endsWith('no-wish'))).toBe(false)
})

test('turning Automatic on restarts what is stale', async () => {
  world.credential('later', false)
  world.add('a', 'w', ['later'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('later')
  await settle(controller)
  expect(world.patches).toEqual([])
  const credential = world.credentials.get('later')
  if (credential) credential.isAutomatic = true
  controller.changedAll()
  await settle(controller)
  expect(world.patches).toHaveLength(1)
})

test('no restart before a copy of the Secret has come, and nobody waits for that', async () => {
  const hub = 'ClusterCredential/hub'
  world.credential(hub)
  world.add('a', 'w', [hub])
  world.add('a', 'other', ['wandb'])
  const controller = await world.start({ atOnce: 1 }).begin()
  world.advance(1_000)
  world.rotate(hub)
  world.rotate('wandb')
  await settle(controller, 60)
  expect(world.patches.map(({ workload }) => workload)).toEqual(['Deployment/a/other'])
  // Its copy is asked for now and then: with the workload, that are two requests each time.
  expect(world.requests.filter((path) => path.includes('/secrets/')).length).toBeLessThan(10)
  world.copies.set(hub, 1)
  await settle(controller, 60)
  expect(world.patches).toHaveLength(1)
  world.copies.set(hub, 2)
  await settle(controller)
  expect(world.patches.map(({ workload }) => workload)).toEqual(['Deployment/a/other', 'Deployment/a/w'])
})

describe('many', () => {
  const addMany = (namespaces: number, each: number) => {
    for (let n = 0; n < namespaces; n++)
      for (let w = 0; w < each; w++) world.add(`n${n}`, `w${n}-${w}`, ['wandb'])
  }

  test('are restarted a few at a time', async () => {
    addMany(1, 25)
    const controller = await world.start({ atOnce: 4 }).begin()
    world.advance(1_000)
    world.rotate('wandb')
    await settle(controller)
    expect(new Set(world.patches.map(({ workload }) => workload)).size).toBe(25)
    expect(world.patches).toHaveLength(25)
    expect(Math.max(...world.patches.map(({ underWay }) => underWay.length))).toBe(3)
    // One to look, one for earlier templates, one to change, and a few to see it through.
    expect(world.requests.length).toBeLessThan(25 * 10)
  })

  test('of a namespace one after the other, where that is asked for', async () => {
    addMany(3, 4)
    const controller = await world.start({ oneAtATime: true }).begin()
    world.advance(1_000)
    world.rotate('wandb')
    await settle(controller)
    expect(world.patches).toHaveLength(12)
    for (const { workload, underWay } of world.patches) {
      const namespace = workload.split('/')[1]
      expect(underWay.filter((other) => other.split('/')[1] === namespace)).toEqual([])
    }
    expect(Math.max(...world.patches.map(({ underWay }) => underWay.length))).toBe(2)
  })

  test('one that does not finish holds up the others for so long, and that is said', async () => {
    addMany(1, 2)
    const controller = await world.start({ atOnce: 1, rolloutLimit: 60_000 }).begin()
    world.advance(1_000)
    world.rotate('wandb')
    for (let second = 0; second < 75; second++) {
      await controller.work()
      world.advance(1_000)
      controller.changedAll()
    }
    expect(world.patches).toHaveLength(2)
    const [first, second] = world.patches.map(({ at }) => at)
    expect((second as number) - (first as number)).toBeGreaterThanOrEqual(60_000)
    expect(reasons()).toContain('Deployment/w0-0 Warning RolloutNotFinished')
  })

  test('a new leader waits for what its predecessor has begun, also if all pods are new already', async () => {
    addMany(1, 3)
    const first = await world.start({ oneAtATime: true }).begin()
    world.advance(1_000)
    world.rotate('wandb')
    first.changedAll()
    world.advance(SETTLE)
    await first.work()
    expect(world.patches).toHaveLength(1)
    first.kill()
    const second = await world.start({ oneAtATime: true }).begin()
    await second.work()
    expect(world.patches).toHaveLength(1)
    const [restarted = ''] = world.patches.map(({ workload }) => workload)
    for (const _ of [1, 2]) world.progress(restarted)
    expect(world.stale.get(restarted)).toBeUndefined()
    second.kill()
    const third = await world.start({ oneAtATime: true }).begin()
    await third.work()
    expect(world.patches).toHaveLength(1)
    await settle(third)
    expect(world.patches).toHaveLength(3)
  })
})

describe('a rollout with a record that a new leader finds', () => {
  const RECORD = 'Credential/other@r9@2020-01-01T00:00:00Z'
  /** Ten that never get ready, as many as may be under way at once. */
  const addHanging = (restartedAt: number | undefined) => {
    for (let n = 0; n < 10; n++) {
      const workload = world.add('evil', `w${n}`, [])
      for (const pod of workload.pods) pod.record = RECORD
      Object.assign(workload, { record: RECORD, restartedAt, available: false })
    }
  }
  async function secondsUntilRestart(): Promise<number | undefined> {
    world.add('good', 'w', ['wandb'])
    world.advance(1_000)
    world.rotate('wandb')
    const rotatedAt = world.now
    let controller = await world.start().begin()
    for (let second = 0; second < 700 && world.patches.length === 0; second++) {
      // Another one leads from time to time.
      if (second === 100) {
        controller.kill()
        controller = await world.start().begin()
      }
      await controller.work()
      world.advance(1_000)
      controller.changedAll()
    }
    return world.patches[0] && (world.patches[0].at - rotatedAt) / 1_000
  }

  test('is none of a restart where somebody else wrote the record', async () => {
    addHanging(undefined)
    expect(await secondsUntilRestart()).toBe(10)
    expect(reasons()).not.toContain('Deployment/w0 Warning RolloutNotFinished')
  })

  test('is none where the controller wrote it long ago', async () => {
    addHanging(world.now - 86_400_000)
    expect(await secondsUntilRestart()).toBe(10)
    expect(reasons()).not.toContain('Deployment/w0 Warning RolloutNotFinished')
  })

  test('has its time from when it began, whoever leads', async () => {
    addHanging(world.now - 300_000)
    const seconds = await secondsUntilRestart()
    expect(seconds).toBeGreaterThan(290)
    expect(seconds).toBeLessThan(310)
  })
})

test('a change whose answer was lost is told as one, and is not made twice', async () => {
  world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(SETTLE)
  controller.changedAll()
  world.mishaps = ['ok', 'ok', 'lost']
  await settle(controller)
  expect(world.patches).toHaveLength(1)
  expect(reasons()).toEqual(['Deployment/w Normal RestartedForRotation'])
  expect(await controller.metrics.text()).toContain('controller_restarts_total{result="restarted"} 1')
})

test('a workload that changes meanwhile is looked at again', async () => {
  world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(SETTLE)
  controller.changedAll()
  world.mishaps = ['ok', 'ok', 409]
  await settle(controller)
  expect(world.patches).toHaveLength(1)
  expect(await controller.metrics.text()).toContain('controller_restarts_total{result="conflict"} 1')
})

test('who does not lead any more changes nothing', async () => {
  world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(SETTLE)
  controller.isLeading = false
  controller.changedAll()
  await controller.work()
  expect(world.patches).toEqual([])
})

test('a workload of the same name that is another one is left alone', async () => {
  const workload = world.add('a', 'w', ['wandb'])
  const controller = await world.start().begin()
  world.advance(1_000)
  world.rotate('wandb')
  world.advance(SETTLE)
  // The API server has a new one, and the pods of the old one have not gone yet.
  workload.uidInCluster = 'other'
  controller.changedAll()
  await controller.work()
  expect([world.patches, world.requests.length]).toEqual([[], 1])
})
