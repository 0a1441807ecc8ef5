/*
 * One of several processes leads: whose name stands in a Lease (coordination.k8s.io/v1) and is renewed.
 *
 *     stand by ──► the lease is free, was given back, or has not been renewed for its time ──► lead
 *        ▲                                                                                       │ renew, again and again
 *        └── another was quicker                                   gone for good ◄── not renewed in time, or taken by another
 *
 * Whether a lease has run out is judged by how long ago this process saw it change, never by the times that stand in it: clocks
 * of machines differ. A leader that cannot renew stops before anybody else may begin: `renewWithin` is shorter than `duration`.
 */
import { isConflict, isNotFound, type KubeClient, type KubeObject } from './client.ts'
import { type Clock, SYSTEM_CLOCK } from './clock.ts'

export interface LeaseSettings {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>
  readonly namespace: string
  readonly name: string
  /** Names this process and no other, also none of the same pod before it. */
  readonly identity: string
  /** This process leads from now on. */
  readonly onWon: () => void
  /** It does not any more, and never will again: whatever is under way has to stop. Not called by `resign`. */
  readonly onLost: (why: string) => void
  /** Something went wrong and is tried again. */
  readonly onTrouble?: (error: Error) => void
  readonly clock?: Clock
  readonly limits?: Partial<LeaseLimits>
}

/** In milliseconds; those of client-go, but for the second one that waits. */
export interface LeaseLimits {
  /** For so long a lease holds that nobody renews. Kubernetes writes it in seconds. */
  readonly duration: number
  /** A leader that has not renewed for so long gives up. */
  readonly renewWithin: number
  readonly renewEvery: number
  /** How often it is looked at by those that wait: a lease that is given back finds its next holder within this. */
  readonly lookEvery: number
}

const LIMITS: LeaseLimits = { duration: 15_000, renewWithin: 10_000, renewEvery: 2_000, lookEvery: 800 }

export interface Election {
  /** False from the moment on at which it might be wrong: ask before anything is written. */
  isLeading(): boolean
  /** Who leads, as far as this process knows; undefined for nobody. */
  leader(): string | undefined
  /** Gives the lease back if it is held, so that the next one begins at once. Resolves when nothing more will happen. */
  resign(): Promise<void>
}

interface Lease extends KubeObject {
  readonly spec?: LeaseSpec
}

interface LeaseSpec {
  readonly holderIdentity?: string
  readonly leaseDurationSeconds?: number
  readonly acquireTime?: string
  readonly renewTime?: string
  readonly leaseTransitions?: number
}

export function stand(settings: LeaseSettings): Election {
  const { client, namespace, name, identity, clock = SYSTEM_CLOCK } = settings
  const limits = { ...LIMITS, ...settings.limits }
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`
  const path = `${collection}/${name}`
  const end = new AbortController()

  let phase: 'standing by' | 'leading' | 'lost' = 'standing by'
  let seen: Lease | undefined
  let seenAt = clock.now()
  let renewedAt = 0
  /** A request to take it is under way, or its answer is not known, or nobody has been told of it yet. */
  let mayHold = false

  const running = run()
  return {
    isLeading,
    leader: () => seen?.spec?.holderIdentity || undefined,
    async resign() {
      end.abort()
      await running
      if (isLeading() || mayHold) await giveBack()
      phase = 'lost'
    },
  }

  function isLeading(): boolean {
    return phase === 'leading' && clock.now() < renewedAt + limits.renewWithin
  }

  async function run(): Promise<void> {
    while (!end.signal.aborted && !(await tried(tryToTake))) {
      // Half a beat of chance, so that those who wait do not all ask at once.
      await clock.sleep(limits.lookEvery * (0.75 + clock.random() / 4), end.signal)
    }
    if (end.signal.aborted) return
    phase = 'leading'
    mayHold = false
    settings.onWon()
    await keep()
  }

  async function keep(): Promise<void> {
    while (!end.signal.aborted) {
      await clock.sleep(limits.renewEvery, end.signal)
      if (end.signal.aborted) return
      const renewed = await tried(renew)
      if (end.signal.aborted) return
      const holder = seen?.spec?.holderIdentity
      if (!renewed && holder !== identity) return lose(`the lease was taken by ${holder || 'nobody'}`)
      if (!isLeading()) return lose(`the lease could not be renewed for ${limits.renewWithin / 1000} s`)
    }
  }

  function lose(why: string): void {
    phase = 'lost'
    settings.onLost(why)
  }

  /** False for what went wrong; it is tried again. */
  async function tried(action: () => Promise<boolean>): Promise<boolean> {
    try {
      return await action()
    } catch (error) {
      if (!end.signal.aborted) settings.onTrouble?.(error as Error)
      return false
    }
  }

  // ---- Standing by ----

  async function tryToTake(): Promise<boolean> {
    const lease = await read()
    if (lease === undefined) return take(() => client.create(collection, fresh(), options()))
    observe(lease)
    if (!isFree(lease)) return false
    return take(() => client.replace(path, taken(lease), options()))
  }

  async function take(request: () => Promise<Lease>): Promise<boolean> {
    mayHold = true
    mayHold = await write(request)
    return mayHold
  }

  /** Undefined if there is none. */
  async function read(): Promise<Lease | undefined> {
    try {
      return await client.get<Lease>(path, options())
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  /** Every change is a sign of life. */
  function observe(lease: Lease): void {
    if (seen?.metadata.resourceVersion !== lease.metadata.resourceVersion) seenAt = clock.now()
    seen = lease
  }

  function isFree({ spec }: Lease): boolean {
    if (!spec?.holderIdentity || spec.holderIdentity === identity) return true
    const duration = spec.leaseDurationSeconds ? spec.leaseDurationSeconds * 1000 : limits.duration
    return clock.now() >= seenAt + duration
  }

  /** False if somebody else was quicker. */
  async function write(request: () => Promise<Lease>): Promise<boolean> {
    // Counted from before the question: the answer may take its time.
    const asked = clock.now()
    try {
      observe(await request())
      renewedAt = asked
      return true
    } catch (error) {
      if (isConflict(error)) return false
      throw error
    }
  }

  function options() {
    const left = phase === 'leading' ? renewedAt + limits.renewWithin - clock.now() : limits.renewWithin
    return { timeout: Math.max(1, Math.min(left, MOST_WAIT_MS)), signal: end.signal }
  }

  // ---- Leading ----

  async function renew(): Promise<boolean> {
    if (await write(() => client.replace(path, renewed(), options()))) return true
    // Somebody wrote it: perhaps this process, in a request whose answer was lost.
    const lease = await read()
    if (lease !== undefined) observe(lease)
    else seen = undefined
    if (seen?.spec?.holderIdentity !== identity) return false
    return write(() => client.replace(path, renewed(), options()))
  }

  async function giveBack(): Promise<void> {
    try {
      // A renewal that was under way may have been written, so what is known of the lease may be old.
      const lease = await client.get<Lease>(path, { timeout: MOST_WAIT_MS })
      const { holderIdentity, ...spec } = lease.spec ?? {}
      if (holderIdentity !== identity) return
      const body = { ...lease, spec: { ...spec, leaseDurationSeconds: 1, renewTime: timeNow() } }
      await client.replace(path, body, { timeout: MOST_WAIT_MS })
    } catch (error) {
      // It runs out by itself.
      settings.onTrouble?.(error as Error)
    }
  }

  // ---- The lease as it is written ----

  function fresh(): Lease {
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace },
      spec: held(0),
    }
  }

  function taken(lease: Lease): Lease {
    const before = lease.spec?.leaseTransitions ?? 0
    return { ...lease, spec: held(lease.spec?.holderIdentity === identity ? before : before + 1) }
  }

  function held(leaseTransitions: number): LeaseSpec {
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(limits.duration / 1000),
      acquireTime: timeNow(),
      renewTime: timeNow(),
      leaseTransitions,
    }
  }

  function renewed(): Lease {
    return { ...(seen as Lease), spec: { ...seen?.spec, renewTime: timeNow() } }
  }
}

/** A question that takes longer is better asked again. */
const MOST_WAIT_MS = 5_000

/** meta/v1 MicroTime. For people: nothing is decided by it. */
function timeNow(): string {
  return new Date().toISOString().replace('Z', '000Z')
}
