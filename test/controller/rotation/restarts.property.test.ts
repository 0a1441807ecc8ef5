/*
 * What is promised about restarts, under whatever may happen: Secrets are edited at any moment, rollouts go on as they like,
 * requests fail before or after they were carried out, and the controller dies between any two of its steps, also with a request
 * on its way. Each workload is restarted once for each rotation that has settled, never more are under way than there may be, and
 * in the end no pod is without the last content.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Controller, type Mishap, newRotations, SETTLE, World } from './world.ts'

const CREDENTIALS = ['a', 'b', 'never']
const WORKLOADS: [namespace: string, name: string, uses: string[]][] = [
  ['n', 'w1', ['a']],
  ['n', 'w2', ['a', 'b']],
  ['n', 'w3', ['b', 'never']],
  ['m', 'w4', ['a']],
  ['m', 'w5', ['never']],
]
const KEYS = WORKLOADS.map(([namespace, name]) => `Deployment/${namespace}/${name}`)

type Action =
  | { rotate: string }
  | { advance: number }
  | { progress: string }
  | { mishaps: Mishap[] }
  | 'work'
  /** The controller dies after so many turns of the event loop of its work. */
  | { killAfter: number }

/** Weighted so that rollouts are often under way when something happens. */
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ rotate: fc.constantFrom(...CREDENTIALS) }) },
  { weight: 1, arbitrary: fc.record({ advance: fc.integer({ min: 1, max: SETTLE }) }) },
  { weight: 3, arbitrary: fc.constant<Action>({ advance: SETTLE }) },
  { weight: 3, arbitrary: fc.record({ progress: fc.constantFrom(...KEYS) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      mishaps: fc.array(fc.constantFrom<Mishap>('ok', 429, 500, 409, 'cut', 'lost'), { maxLength: 6 }),
    }),
  },
  { weight: 3, arbitrary: fc.constant<Action>('work') },
  { weight: 2, arbitrary: fc.record({ killAfter: fc.integer({ min: 0, max: 12 }) }) },
)

const LIMITS = [
  { atOnce: 1, oneAtATime: false },
  { atOnce: 2, oneAtATime: true },
  { atOnce: 10, oneAtATime: false },
]

test.each(LIMITS)(
  'each restart is made once, and none is left out: %j',
  async (limits) => {
    let restarts = 0
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const world = newWorld()
        let controller = await world.start(limits).begin()
        for (const one of actions) controller = await act(world, controller, one, limits)
        await comeToRest(world, controller)
        check(world, limits)
        restarts += world.patches.length
      }),
      { numRuns: 100 },
    )
    expect(restarts).toBeGreaterThan(25)
  },
  60_000,
)

function newWorld(): World {
  const world = new World()
  for (const name of CREDENTIALS) world.credential(name, name !== 'never')
  for (const one of WORKLOADS) world.add(...one)
  world.advance(1_000)
  return world
}

async function act(
  world: World,
  controller: Controller,
  one: Action,
  limits: (typeof LIMITS)[number],
): Promise<Controller> {
  if (one === 'work') await controller.work()
  else if ('rotate' in one) world.rotate(one.rotate)
  else if ('advance' in one) world.advance(one.advance)
  else if ('progress' in one) world.progress(one.progress)
  else if ('mishaps' in one) world.mishaps = [...one.mishaps]
  else {
    const working = controller.work()
    for (let turn = 0; turn < one.killAfter; turn++) await Promise.resolve()
    controller.kill()
    await working
    return await world.start(limits).begin()
  }
  controller.changedAll()
  return controller
}

async function comeToRest(world: World, controller: Controller): Promise<void> {
  world.mishaps = []
  for (let round = 0; round < 500; round++) {
    controller.changedAll()
    await controller.work()
    const open = world.underWay()
    for (const key of open) world.progress(key)
    if (open.length === 0 && controller.next() === undefined && staleOf(world).length === 0) return
    world.advance(1_000)
  }
}

/** Of credentials that ask for restarts. */
function staleOf(world: World): string[] {
  return [...world.workloads.values()].flatMap((workload) =>
    world
      .rotationsOf(workload)
      .filter(({ isAutomatic }) => isAutomatic)
      .map(({ credential }) => credential),
  )
}

function check(world: World, { atOnce, oneAtATime }: (typeof LIMITS)[number]): void {
  expect(staleOf(world)).toEqual([])
  for (const patch of world.patches) {
    const rotations = newRotations(world.patches, patch)
    expect(rotations.length, `nothing twice: ${patch.record}`).toBeGreaterThan(0)
    for (const { credential, at } of rotations) {
      expect(credential).not.toBe('Credential/never')
      expect(patch.at, 'it has settled').toBeGreaterThanOrEqual(Date.parse(at) + SETTLE)
    }
    const others = patch.underWay.filter((key) => key !== patch.workload)
    expect(others.length).toBeLessThan(atOnce)
    const namespace = (key: string) => key.split('/')[1]
    if (oneAtATime) expect(others.filter((key) => namespace(key) === namespace(patch.workload))).toEqual([])
  }
}
