/**
 * A cluster with workloads, credentials and a clock, without any of Kubernetes' programs: what the controller reads and writes,
 * rollouts that go on when they are told to, and everything that can go wrong with a request.
 */
import { createControllerMetrics } from '../../../src/controller/metrics.ts'
import { type Rotation, rotationsIn } from '../../../src/controller/rotation/record.ts'
import { createRestarter, type Restarter } from '../../../src/controller/rotation/restarter.ts'
import type { RotationSettings } from '../../../src/controller/rotation/settings.ts'
import { keyOf, type StaleWorkloads } from '../../../src/controller/rotation/stale.ts'
import { revisionOf } from '../../../src/controller/status/revision.ts'
import type { Workload } from '../../../src/controller/watched/owners.ts'
import { type KubeClient, KubeError } from '../../../src/kube/client.ts'
import type { EventContent } from '../../../src/kube/events.ts'
import { loggerOn } from '../../../src/process/log.ts'

export const SETTLE = 10_000
export const SETTINGS: RotationSettings = {
  restartWorkloads: true,
  isPaused: false,
  settle: SETTLE,
  oneAtATime: false,
  atOnce: 10,
  rolloutLimit: 600_000,
}
const OWN = 'own'
const KEY = Buffer.alloc(32)
const MOST_EVENTS = 100
const START = Date.parse('2026-11-25T00:00:00Z')

interface Pod {
  startedAt: number
  /** Of the template it was made from. */
  record: string
}

export interface SimulatedWorkload extends Workload {
  readonly uses: readonly string[]
  record: string
  /** When the controller wrote it. */
  restartedAt: number | undefined
  /** Of templates that it had. */
  history: string[]
  version: number
  generation: number
  observed: number
  paused: boolean
  wish: boolean | undefined
  restartPaused: boolean
  onDelete: boolean
  /** Where it is another one than the pods' owner. */
  uidInCluster: string
  pods: Pod[]
  /** The pods answer, after all of them are new. */
  available: boolean
}

interface Credential {
  revision: number
  rotatedAt: number | undefined
  isAutomatic: boolean
}

/** What befalls a request: the answer is an error, or is lost after the request was carried out. */
export type Mishap = 'ok' | 429 | 500 | 409 | 'cut' | 'lost'

export interface Patch {
  readonly workload: string
  readonly at: number
  readonly record: string
  readonly underWay: readonly string[]
}

export class World {
  now = START
  readonly workloads = new Map<string, SimulatedWorkload>()
  readonly credentials = new Map<string, Credential>()
  readonly patches: Patch[] = []
  readonly events: [workload: string, event: EventContent][] = []
  /** Keys of requests: `get Deployment/n/w`. */
  readonly requests: string[] = []
  mishaps: Mishap[] = []
  /** Revisions of the copies of ClusterCredentials' Secrets. */
  readonly copies = new Map<string, number>()
  changes = 0

  add(namespace: string, name: string, uses: readonly string[], pods = 2, kind = 'Deployment') {
    const workload: SimulatedWorkload = {
      apiVersion: 'apps/v1',
      kind,
      namespace,
      name,
      uid: `uid-${name}`,
      uses,
      record: '',
      restartedAt: undefined,
      history: [],
      version: 1,
      generation: 1,
      observed: 1,
      paused: false,
      wish: undefined,
      restartPaused: false,
      onDelete: false,
      uidInCluster: `uid-${name}`,
      pods: Array.from({ length: pods }, () => ({ startedAt: this.now, record: '' })),
      available: true,
    }
    this.workloads.set(keyOf(workload), workload)
    return workload
  }

  credential(name: string, isAutomatic = true) {
    this.credentials.set(name, { revision: 1, rotatedAt: undefined, isAutomatic })
  }

  rotate(name: string) {
    const credential = this.credentials.get(name) as Credential
    credential.revision++
    credential.rotatedAt = this.now
  }

  advance(milliseconds: number) {
    this.now += milliseconds
  }

  /** One pod of an older template, or one that has none, is made anew, as a rollout goes. */
  progress(key: string) {
    const workload = this.workloads.get(key) as SimulatedWorkload
    workload.observed = workload.generation
    if (workload.paused) return
    const old = workload.pods.find(({ record }) => record !== workload.record)
    if (old) Object.assign(old, { startedAt: this.now, record: workload.record })
    else workload.available = true
  }

  /** `kubectl rollout undo`: pods of the earlier template that still run go on. */
  undo(key: string) {
    const workload = this.workloads.get(key) as SimulatedWorkload
    const before = workload.history.pop() ?? ''
    workload.history.push(workload.record)
    this.change(workload, () => {
      workload.record = before
    })
  }

  change(workload: SimulatedWorkload, how: () => void) {
    how()
    workload.version++
    workload.generation++
  }

  isRolledOut({ observed, generation, pods, record, available }: SimulatedWorkload): boolean {
    return available && observed === generation && pods.every((pod) => pod.record === record)
  }

  underWay(): string[] {
    return [...this.workloads.values()].filter((one) => !this.isRolledOut(one)).map(keyOf)
  }

  rotationsOf(workload: SimulatedWorkload) {
    return workload.uses.flatMap((name) => {
      const { rotatedAt, revision, isAutomatic } = this.credentials.get(name) as Credential
      const isStale = rotatedAt !== undefined && workload.pods.some(({ startedAt }) => startedAt < rotatedAt)
      if (!isStale) return []
      const at = `${new Date(rotatedAt).toISOString().slice(0, 19)}Z`
      return [
        {
          credential: name.includes('/') ? name : `Credential/${name}`,
          revision: this.revision(name, revision),
          at,
          isAutomatic,
        },
      ]
    })
  }

  private revision(name: string, revision: number): string {
    if (!name.includes('/')) return `r${revision}`
    const content = new Map([['K', Buffer.from(`${revision}`)]])
    return revisionOf({ namespace: OWN, name: 'source', type: 'Opaque', content }, KEY)
  }

  get stale(): StaleWorkloads {
    const find = (workload: SimulatedWorkload) => {
      const rotations = this.rotationsOf(workload)
      return rotations.length > 0 ? { workload, wishes: new Set([workload.wish]), rotations } : undefined
    }
    const { workloads } = this
    const world = this
    return {
      get: (key) => {
        const workload = workloads.get(key)
        return workload && find(workload)
      },
      *all() {
        for (const workload of workloads.values()) {
          const found = find(workload)
          if (found) yield found
        }
      },
      *restartedWithin(milliseconds) {
        for (const workload of workloads.values())
          if (
            workload.pods.some(
              ({ record, startedAt }) => record !== '' && startedAt > world.now - milliseconds,
            )
          )
            yield workload
      },
    }
  }

  // ---- The API server ----

  get client(): KubeClient {
    const answer = async <T>(what: string, path: string, carryOut: () => T): Promise<T> => {
      this.requests.push(`${what} ${path}`)
      await Promise.resolve()
      const mishap = this.mishaps.shift() ?? 'ok'
      if (mishap === 'cut') throw new Error('connection reset')
      if (typeof mishap === 'number' && (mishap !== 409 || what === 'patch'))
        throw new KubeError(mishap, '', `${mishap}`)
      const result = carryOut()
      if (mishap === 'lost') throw new Error('the connection to the API server broke off')
      return result
    }
    return {
      get: (path: string) => answer('get', path, () => this.read(path)),
      patch: (path: string, _type: string, body: object) =>
        answer('patch', path, () => this.write(path, body)),
    } as unknown as KubeClient
  }

  private read(path: string): unknown {
    const [, copy] = /\/secrets\/credential-(.+)$/.exec(path) ?? []
    if (copy !== undefined) {
      const revision = this.copies.get(`ClusterCredential/${copy}`)
      if (revision === undefined) throw new KubeError(404, 'NotFound', 'not found')
      return { type: 'Opaque', data: { K: Buffer.from(`${revision}`).toString('base64') } }
    }
    if (path.includes('?labelSelector')) {
      const name = /labelSelector=app%3D(.+)$/.exec(path)?.[1]
      const workload = [...this.workloads.values()].find((one) => one.name === name) as SimulatedWorkload
      const items = workload.history.map((record) => ({
        metadata: { name: 'r', ownerReferences: [{ uid: workload.uid }] },
        spec: { template: { metadata: { annotations: { 'credentials.run.ai/restarted-for': record } } } },
      }))
      return { items }
    }
    return this.objectOf(this.at(path))
  }

  private at(path: string): SimulatedWorkload {
    const [, , , , , namespace, plural, name] = (path.split('?')[0] as string).split('/')
    const found = [...this.workloads.values()].find(
      (one) => one.namespace === namespace && one.name === name && `${one.kind.toLowerCase()}s` === plural,
    )
    if (!found) throw new KubeError(404, 'NotFound', 'not found')
    return found
  }

  private objectOf(workload: SimulatedWorkload) {
    const { name, namespace, version, generation, observed, pods, record, wish } = workload
    const updated = pods.filter((pod) => pod.record === record).length
    const annotations = {
      ...(record && { 'credentials.run.ai/restarted-for': record }),
      ...(wish !== undefined && { 'credentials.run.ai/restart-on-rotation': `${wish}` }),
    }
    return {
      metadata: {
        name,
        namespace,
        uid: workload.uidInCluster,
        resourceVersion: `${version}`,
        generation,
        annotations: workload.restartPaused ? { 'credentials.run.ai/restart-paused': 'true' } : {},
        managedFields: managersOf(workload),
      },
      spec: {
        replicas: pods.length,
        paused: workload.paused,
        selector: { matchLabels: { app: name } },
        template: { metadata: { annotations } },
        updateStrategy: workload.onDelete ? { type: 'OnDelete' } : undefined,
      },
      status: {
        observedGeneration: observed,
        replicas: pods.length,
        updatedReplicas: updated,
        availableReplicas: workload.available ? pods.length : 0,
      },
    }
  }

  private write(path: string, body: any): void {
    const workload = this.at(path)
    const { uid, resourceVersion, ...others } = body.metadata
    if (uid !== workload.uid || resourceVersion !== `${workload.version}`)
      throw new KubeError(409, 'Conflict', 'conflict')
    const { annotations, ...more } = body.spec.template.metadata
    if (Object.keys({ ...others, ...more }).length > 0 || Object.keys(annotations).length !== 1)
      throw new Error('it changes more than it may')
    const record = annotations['credentials.run.ai/restarted-for']
    this.patches.push({ workload: keyOf(workload), at: this.now, record, underWay: this.underWay() })
    workload.history.push(workload.record)
    this.change(workload, () => {
      workload.record = record
      workload.restartedAt = this.now
      workload.available = false
    })
  }

  // ---- The controller ----

  /** A process of the controller that has just begun to lead. */
  start(settings: Partial<RotationSettings> = {}): Controller {
    return new Controller(this, { ...SETTINGS, ...settings })
  }
}

/** Times there have no fractions of a second. */
function managersOf({ restartedAt }: SimulatedWorkload) {
  const others = { manager: 'kube-controller-manager', time: '2030-01-01T00:00:00Z' }
  if (restartedAt === undefined) return [others]
  const time = `${new Date(restartedAt).toISOString().slice(0, 19)}Z`
  return [others, { manager: 'credential-injector-controller', time }]
}

export class Controller {
  readonly restarter: Restarter
  readonly metrics = createControllerMetrics()
  readonly log: string[] = []
  readonly end = new AbortController()
  readonly #world: World
  readonly #waiting = new Set<string>()
  readonly #times = new Map<string, number>()
  #unsent = 0
  eventsAreSent: Promise<void> = Promise.resolve()
  isLeading = true

  constructor(world: World, settings: RotationSettings) {
    this.#world = world
    const logger = loggerOn({ stream: { write: (line) => void this.log.push(line) }, flush() {} }, 'info')
    this.restarter = createRestarter(
      {
        client: world.client,
        watched: { credential: () => ({ spec: { secretRef: { name: 'source' } } }) } as any,
        events: {
          // Of those that wait to be sent only so many are kept, as by the sender of events.
          send: (about, event) => {
            if (this.#unsent++ < MOST_EVENTS) world.events.push([`${about.kind}/${about.name}`, event])
          },
          flush: async () => {
            await this.eventsAreSent
            this.#unsent = 0
          },
        },
        metrics: this.metrics,
        log: logger,
        ownNamespace: OWN,
        isLeading: () => this.isLeading,
        revisionKey: async () => KEY,
        now: () => world.now,
      },
      world.stale,
      settings,
      {
        add: (key) => void this.#waiting.add(key),
        addAt: (key, time) =>
          void (time === undefined ? this.#times.delete(key) : this.#times.set(key, time)),
      },
      { now: () => world.now, sleep: async () => {}, random: () => 0.5 },
    )
  }

  async begin(): Promise<this> {
    await this.restarter.survey(this.end.signal)
    for (const key of this.restarter.underWay()) this.#waiting.add(key)
    this.changedAll()
    return this
  }

  /** As when everything that can be watched has changed; each time in another order. */
  changedAll(): void {
    const keys = [...this.#world.workloads.keys()]
    const first = this.#world.changes++ % keys.length
    for (const key of [...keys.slice(first), ...keys.slice(0, first)]) this.#waiting.add(key)
  }

  /** Looks at all that waits, until nothing does, several at once as the queue has it. What fails is tried once more, later. */
  async work(most = 1_000): Promise<void> {
    for (let looks = 0; looks < most; ) {
      for (const [key, time] of this.#times)
        if (time <= this.#world.now) {
          this.#times.delete(key)
          this.#waiting.add(key)
        }
      const some = [...this.#waiting].slice(0, 4)
      if (some.length === 0) return
      looks += some.length
      await Promise.all(some.map((key) => this.#look(key)))
    }
    throw new Error('it does not come to rest')
  }

  /** When it is to look again. */
  next(): number | undefined {
    return this.#times.size === 0 ? undefined : Math.min(...this.#times.values())
  }

  async #look(key: string): Promise<void> {
    this.#waiting.delete(key)
    try {
      await this.restarter.look(key, this.end.signal)
    } catch {
      this.#times.set(key, this.#world.now + 1_000)
    }
  }

  /** It does nothing any more; a request that is under way may still be carried out. */
  kill(): void {
    this.end.abort()
    this.#waiting.clear()
    this.#times.clear()
  }
}

/** The rotations that a patch was for: those that its record has and the one before it had not. */
export function newRotations(patches: readonly Patch[], patch: Patch): Rotation[] {
  const earlier = patches
    .slice(0, patches.indexOf(patch))
    .filter(({ workload }) => workload === patch.workload)
  const known = new Set(earlier.flatMap(({ record }) => record.split(',')))
  return rotationsIn(patch.record).filter(
    ({ credential, revision, at }) => !known.has(`${credential}@${revision}@${at}`),
  )
}
