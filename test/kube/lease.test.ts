import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { KubeError } from '../../src/kube/client.ts'
import type { Clock } from '../../src/kube/clock.ts'
import { type Election, type LeaseSettings, stand } from '../../src/kube/lease.ts'

/** Time stands still until a test moves it. */
function manualClock() {
  let time = 0
  let sleepers: { until: number; wake: () => void }[] = []
  const clock: Clock = {
    now: () => time,
    random: () => 0.5,
    sleep: (milliseconds, signal) =>
      new Promise((resolve) => {
        const sleeper = { until: time + milliseconds, wake: resolve }
        sleepers.push(sleeper)
        signal?.addEventListener('abort', () => resolve(), { once: true })
        if (signal?.aborted) resolve()
      }),
  }
  return {
    clock,
    now: () => time,
    /** To then, stopping wherever somebody wanted to be woken. */
    async advance(milliseconds: number) {
      const end = time + milliseconds
      await turn()
      for (;;) {
        const next = Math.min(...sleepers.map(({ until }) => until))
        if (next > end) break
        time = next
        const due = sleepers.filter(({ until }) => until <= time)
        sleepers = sleepers.filter(({ until }) => until > time)
        for (const { wake } of due) wake()
        await turn()
      }
      time = end
      await turn()
    },
  }
}

/** One lease, as the API server keeps it. */
function leaseServer() {
  let stored: any
  let version = 0
  const server = {
    /** Asked before each request; what it throws is the answer. */
    before: (_verb: string, _body?: any) => {},
    /** After a change was made, and before it is answered. */
    after: (_verb: string) => {},
    get: () => stored,
    set: (spec: object) => {
      stored = { metadata: { name: 'l', resourceVersion: String(++version) }, spec }
    },
    client: {
      get: async () => {
        server.before('get')
        if (!stored) throw new KubeError(404, 'NotFound', 'not found')
        return structuredClone(stored)
      },
      create: async (_path: string, body: any) => {
        server.before('create', body)
        if (stored) throw new KubeError(409, 'AlreadyExists', 'exists')
        server.set(body.spec)
        server.after('create')
        return structuredClone(stored)
      },
      replace: async (_path: string, body: any) => {
        server.before('replace', body)
        if (body.metadata.resourceVersion !== stored?.metadata.resourceVersion)
          throw new KubeError(409, 'Conflict', 'modified')
        server.set(body.spec)
        server.after('replace')
        return structuredClone(stored)
      },
    } as unknown as LeaseSettings['client'],
  }
  return server
}

const elections: Election[] = []
afterEach(async () => {
  for (const election of elections.splice(0)) await election.resign()
})

function join(server: ReturnType<typeof leaseServer>, clock: Clock, identity: string) {
  const log: string[] = []
  const election = stand({
    client: server.client,
    namespace: 'n',
    name: 'l',
    identity,
    clock,
    onWon: () => log.push('won'),
    onLost: (why) => log.push(`lost: ${why}`),
    onTrouble: (error) => log.push(`trouble: ${error.message}`),
  })
  elections.push(election)
  return { ...election, log }
}

const unreachable = () => {
  throw new Error('unreachable')
}

describe('the lease', () => {
  test('is made by the first one, and renewed', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const a = join(server, time.clock, 'a')
    await time.advance(0)
    expect(a.isLeading()).toBe(true)
    expect(a.leader()).toBe('a')
    const { spec, metadata } = server.get()
    expect(spec).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 })
    expect(spec.renewTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    await time.advance(60_000)
    expect(a.isLeading()).toBe(true)
    expect(Number(server.get().metadata.resourceVersion) - Number(metadata.resourceVersion)).toBe(30)
    expect(a.log).toEqual(['won'])
  })

  test('given back finds its next holder within a second', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const a = join(server, time.clock, 'a')
    await time.advance(0)
    const b = join(server, time.clock, 'b')
    await time.advance(60_000)
    expect(b.isLeading()).toBe(false)
    expect(b.leader()).toBe('a')
    await a.resign()
    expect(a.isLeading()).toBe(false)
    expect(a.log).toEqual(['won'])
    await time.advance(1_000)
    expect(b.isLeading()).toBe(true)
    expect(server.get().spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 })
  })

  test('of one who only waits is not touched', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    join(server, time.clock, 'a')
    await time.advance(0)
    const b = join(server, time.clock, 'b')
    await time.advance(1_000)
    await b.resign()
    expect(server.get().spec.holderIdentity).toBe('a')
  })

  test.each<[string, string]>([
    ['its answer', 'after'],
    ['the moment after it', 'answered'],
  ])('won while this process ends is given back: before %s', async (_title, when) => {
    const [server, time] = [leaseServer(), manualClock()]
    let ended: Promise<void> | undefined
    const { create } = server.client
    server.client.create = async (...request: Parameters<typeof create>) => {
      const made: any = await create(...request)
      ended ??= a.resign()
      if (when === 'after') unreachable()
      return made
    }
    const a = join(server, time.clock, 'a')
    await time.advance(0)
    await ended
    expect(a.log).toEqual([])
    expect(server.get().spec.holderIdentity).toBeUndefined()
    expect(server.get().spec.leaseDurationSeconds).toBe(1)
  })

  test.each([
    ['of long ago', '2001-01-01T00:00:00.000000Z'],
    ['of the future', '2099-01-01T00:00:00.000000Z'],
    ['missing', undefined],
  ])(
    'of a dead process is taken after its time as seen from here, with times in it %s',
    async (_title, renewTime) => {
      const [server, time] = [leaseServer(), manualClock()]
      server.set({ holderIdentity: 'dead', leaseDurationSeconds: 15, renewTime, leaseTransitions: 4 })
      const b = join(server, time.clock, 'b')
      await time.advance(14_999)
      expect(b.isLeading()).toBe(false)
      await time.advance(1_000)
      expect(b.isLeading()).toBe(true)
      expect(server.get().spec.leaseTransitions).toBe(5)
    },
  )

  test('that cannot be renewed is given up before anybody else may take it', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const a = join(server, time.clock, 'a')
    await time.advance(4_000)
    server.before = unreachable
    await time.advance(9_999)
    expect(a.isLeading()).toBe(true)
    await time.advance(1)
    expect(a.isLeading()).toBe(false)
    await time.advance(2_000)
    expect(a.log.at(-1)).toBe('lost: the lease could not be renewed for 10 s')
    server.before = () => {}
    const b = join(server, time.clock, 'b')
    await time.advance(2_000)
    expect(b.isLeading()).toBe(false)
  })

  test('that another holds is lost at once', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const a = join(server, time.clock, 'a')
    await time.advance(0)
    server.set({ ...server.get().spec, holderIdentity: 'thief' })
    await time.advance(2_000)
    expect(a.isLeading()).toBe(false)
    expect(a.log).toEqual(['won', 'lost: the lease was taken by thief'])
    await time.advance(60_000)
    expect(server.get().spec.holderIdentity).toBe('thief')
  })

  test('survives a renewal whose answer was lost', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const a = join(server, time.clock, 'a')
    await time.advance(0)
    let lost = 0
    server.after = () => {
      if (lost++ === 0) unreachable()
    }
    await time.advance(60_000)
    expect(a.isLeading()).toBe(true)
    expect(a.log).toEqual(['won', 'trouble: unreachable'])
  })

  test('goes to exactly one of those that come at once', async () => {
    const [server, time] = [leaseServer(), manualClock()]
    const all = ['a', 'b', 'c', 'd'].map((name) => join(server, time.clock, name))
    await time.advance(5_000)
    expect(all.filter((one) => one.isLeading())).toHaveLength(1)
  })
})

test('never do two lead, whatever fails and whoever dies', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          wait: fc.integer({ min: 1, max: 4_000 }),
          what: fc.constantFrom('fail', 'work', 'lose answers', 'resign', 'join', 'cut off'),
          who: fc.nat(2),
        }),
        { minLength: 5, maxLength: 40 },
      ),
      async (steps) => {
        const [server, time] = [leaseServer(), manualClock()]
        const cutOff = new Set<string>()
        let names = 0
        const start = () => join(server, time.clock, `p${names++}`)
        const all = [start(), start(), start()]
        let mode = 'work'
        server.before = (_verb, body) => {
          if (mode === 'fail' || cutOff.has(body?.spec?.holderIdentity)) unreachable()
        }
        server.after = () => {
          if (mode === 'lose answers') unreachable()
        }
        for (const { wait, what, who } of steps) {
          if (what === 'resign') await all[who]?.resign()
          else if (what === 'join') all[who] = start()
          else if (what === 'cut off') cutOff.add(`p${who}`)
          else mode = what
          for (let passed = 0; passed < wait; passed += 250) {
            await time.advance(250)
            expect(elections.filter((one) => one.isLeading()).length).toBeLessThanOrEqual(1)
          }
        }
        server.before = () => {}
        server.after = () => {}
        const last = start()
        await time.advance(60_000)
        expect(elections.filter((one) => one.isLeading())).toHaveLength(1)
        for (const election of elections.splice(0)) await election.resign()
        expect(last.isLeading()).toBe(false)
      },
    ),
    { numRuns: 40 },
  )
})
