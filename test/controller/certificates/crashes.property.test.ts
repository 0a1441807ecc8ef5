/*
 * The promise of plan.ts, under whatever may happen: at every moment, whatever certificate a pod may still be serving is trusted
 * by whatever bundle an API server may still be using. Pods are late by up to the overlap and API servers by up to the settling
 * time; the controller dies at any call, before or after it took effect; two controllers run at once; people delete, damage and
 * restore Secrets and Helm empties bundles, all at the worst times.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KubeError } from '../../../src/kube/client.ts'
import {
  bundlesOf,
  CA,
  DAY,
  isTrusted,
  OVERLAP,
  PODS,
  pemBlocks,
  SECOND,
  SERVING,
  SETTLE,
  WORKLOADS,
  World,
} from './world.ts'

/** For machines that have much else to do: on its own, each takes seconds. */
const LIMIT_MS = 120_000

class Crash extends Error {}

/** Signatures are what takes time here, and the same ones are asked for again and again. */
const trusts = new Map<string, boolean>()

function isTrustedNow(leaf: string, bundle: string, now: number): boolean {
  // Whether dates are right is the concern of the last test; here it would only make every question a new one.
  const key = leaf + bundle
  const known = trusts.get(key)
  if (known !== undefined) return known
  const answer = isTrusted(leaf, bundle, now)
  trusts.set(key, answer)
  return answer
}

/** What a pod or an API server may be using, and until when (undefined: for as long as nothing follows). */
interface InUse {
  readonly text: string
  until: number | undefined
}

/** Watches every write of the cluster and checks the promise. */
class Watcher {
  readonly #world: World
  /** Certificates that pods may be serving. */
  #served: InUse[] = []
  /** For each webhook entry, the bundles that API servers may be using. */
  readonly #bundles = new Map<string, InUse[]>()
  readonly #isTrusted: typeof isTrusted
  checks = 0

  constructor(world: World, isTrustedAt = isTrustedNow) {
    this.#world = world
    this.#isTrusted = isTrustedAt
    for (const [path, object] of world.cluster.objects) this.#changed(path, object)
    world.cluster.onWrite = (path, object) => {
      this.#changed(path, object)
      this.check()
    }
  }

  #changed(path: string, object: any): void {
    if (path === SERVING) this.#servingChanged(object)
    if (path === PODS || path === WORKLOADS) this.#bundlesChanged(path, object)
  }

  #servingChanged(object: any): void {
    const text = Buffer.from(object?.data?.['tls.crt'] ?? '', 'base64').toString()
    // A Secret that is gone or damaged changes nothing: pods go on with what they have.
    if (pemBlocks(text).length === 0) return
    if (this.#served.at(-1)?.text !== text) replace(this.#served, text, this.#world.now + OVERLAP)
  }

  #bundlesChanged(path: string, object: any): void {
    bundlesOf(object).forEach((text, index) => {
      const uses = this.#bundles.get(`${path}#${index}`) ?? []
      this.#bundles.set(`${path}#${index}`, uses)
      replace(uses, text, this.#world.now + SETTLE)
    })
  }

  check(): void {
    const { now } = this.#world
    const isInUse = ({ until }: InUse) => until === undefined || now < until
    this.#served = this.#served.filter(isInUse)
    for (const [entry, uses] of this.#bundles) {
      // An empty bundle is somebody else's doing: nobody could be trusted by it, and it is mended at once.
      for (const { text } of uses.filter(isInUse).filter((use) => use.text !== '')) {
        for (const leaf of this.#served) {
          this.checks += 1
          if (!this.#isTrusted(leaf.text, text, now))
            throw new Error(`${entry} does not trust a certificate that is served`)
        }
      }
    }
  }
}

/** The one before may be in use until `until`; those before it as long as they were going to be. */
function replace(uses: InUse[], text: string, until: number): void {
  const last = uses.at(-1)
  if (last) last.until = until
  uses.push({ text, until: undefined })
}

/** Dies at the call with this number: the API server has heard of it, or has not. */
function dyingClient(world: World, calls: number, isHeard: boolean) {
  let left = calls
  return world.cluster.client(async (call) => {
    left -= 1
    if (left === 0 && isHeard) call()
    if (left <= 0) throw new Crash()
    return call()
  })
}

type Event =
  | { kind: 'run'; calls: number; isHeard: boolean }
  | { kind: 'wait'; seconds: number }
  | { kind: 'person'; act: keyof typeof PEOPLE }

const rotate = (path: string) => (world: World) =>
  world.cluster.change(path, (secret) => {
    secret.metadata.annotations = { ...secret.metadata.annotations, 'credentials.run.ai/rotate': 'x' }
  })
const damage = (path: string, key: string) => (world: World) =>
  world.cluster.change(path, (secret) => {
    secret.data[key] = 'AAAA'
  })

const PEOPLE = {
  'delete the authority': (world: World) => world.cluster.delete(CA),
  'delete the serving certificate': (world: World) => world.cluster.delete(SERVING),
  'delete both': (world: World) => {
    world.cluster.delete(CA)
    world.cluster.delete(SERVING)
  },
  'ask for an authority': rotate(CA),
  'ask for a serving certificate': rotate(SERVING),
  'damage the authority': damage(CA, 'tls.crt'),
  'damage its key': damage(CA, 'tls.key'),
  'damage the serving certificate': damage(SERVING, 'tls.crt'),
  'damage the serving key': damage(SERVING, 'tls.key'),
  'empty a bundle': (world: World) =>
    world.cluster.change(PODS, (object) => {
      delete object.webhooks[0].clientConfig.caBundle
    }),
}

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('run' as const),
      calls: fc.integer({ min: 1, max: 45 }),
      isHeard: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      seconds: fc.constantFrom(1, 10, 29, 30, 31, 300, 599, 600, 601, 1200),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('person' as const),
      act: fc.constantFrom(...(Object.keys(PEOPLE) as (keyof typeof PEOPLE)[])),
    }),
  },
)

async function runUntilCrash(world: World, calls: number, isHeard: boolean): Promise<void> {
  try {
    await world.settle(world.duty(dyingClient(world, calls, isHeard)))
  } catch (error) {
    if (!(error instanceof Crash)) throw error
  }
}

async function happen(world: World, { kind, ...event }: Event & Record<string, any>): Promise<void> {
  if (kind === 'run') return runUntilCrash(world, event.calls, event.isHeard)
  if (kind === 'wait') {
    world.now += event.seconds * SECOND
    return
  }
  PEOPLE[event.act as keyof typeof PEOPLE](world)
}

test(
  'whatever happens, and wherever the controller dies, what is served is trusted; and all comes to rest',
  async () => {
    let checks = 0
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 25 }), async (events) => {
        const world = new World()
        world.installConfigurations()
        const watcher = new Watcher(world)
        for (const event of events) {
          await happen(world, event)
          watcher.check()
        }
        await comesToRest(world, watcher)
        checks += watcher.checks
      }),
      { numRuns: 30 },
    )
    expect(checks).toBeGreaterThan(500)
  },
  LIMIT_MS,
)

/** A cluster whose certificates are in order. */
async function atRest(): Promise<World> {
  const world = new World()
  world.installConfigurations()
  await comesToRest(world, new Watcher(world))
  return world
}

/** Left alone, it ends with one authority that everything is from. */
async function comesToRest(world: World, watcher: Watcher): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    await world.settle()
    world.now += OVERLAP
    watcher.check()
  }
  await world.settle()
  const ca = world.text(CA, 'tls.crt')
  expect([...world.bundles(PODS), ...world.bundles(WORKLOADS)]).toEqual([ca, ca, ca])
  expect(world.text(CA, 'ca.crt')).toBe(ca)
  expect(isTrusted(world.text(SERVING, 'tls.crt'), ca, world.now)).toBe(true)
  const writes = world.cluster.writes.length
  await world.settle()
  expect(world.cluster.writes).toHaveLength(writes)
}

test(
  'a rotation that dies at each of its calls in turn, heard or not, is finished by the next controller',
  async () => {
    const start = await atRest()
    for (const isHeard of [true, false]) {
      for (let calls = 1; calls <= 20; calls += 1) {
        const world = start.copy()
        const watcher = new Watcher(world)
        world.cluster.delete(CA)
        for (const wait of [0, SETTLE, OVERLAP]) {
          world.now += wait
          await runUntilCrash(world, calls, isHeard)
          watcher.check()
        }
        await comesToRest(world, watcher)
      }
    }
  },
  LIMIT_MS,
)

test(
  'two controllers that both believe they lead do no harm',
  async () => {
    const start = await atRest()
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(
          fc.constantFrom<keyof typeof PEOPLE>(
            'delete the authority',
            'ask for an authority',
            'delete both',
            'damage its key',
          ),
          {
            minLength: 1,
            maxLength: 4,
          },
        ),
        async (scheduler, acts) => {
          const world = start.copy()
          const watcher = new Watcher(world)
          const turn = () =>
            world
              .settle(
                world.duty(world.cluster.client((call) => scheduler.schedule(Promise.resolve()).then(call))),
              )
              .catch((error) => {
                if (!(error instanceof KubeError)) throw error
              })
          for (const act of acts) {
            PEOPLE[act](world)
            await scheduler.waitFor(Promise.all([turn(), turn()]))
            world.now += SETTLE
            await scheduler.waitFor(Promise.all([turn(), turn()]))
            watcher.check()
          }
          await comesToRest(world, watcher)
        },
      ),
      { numRuns: 8 },
    )
  },
  LIMIT_MS,
)

test(
  'twenty years, looked at whenever something is due: what is served is never expired and always trusted',
  async () => {
    const world = new World()
    world.installConfigurations()
    const watcher = new Watcher(world, isTrusted)
    // Longer than by default: to make certificates is what takes time here.
    const duty = world.duty(undefined, { servingValidity: 360 * DAY })
    const authorities = new Set<string>()
    const end = world.now + 20 * 365 * DAY
    while (world.now < end) {
      world.now = await world.settle(duty)
      authorities.add(world.text(CA, 'tls.crt'))
      watcher.check()
    }
    // Ten years each, renewed after eight.
    expect(authorities.size).toBe(3)
  },
  LIMIT_MS,
)
