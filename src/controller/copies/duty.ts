import { isDeepStrictEqual } from 'node:util'
import { COPY } from '../../annotations.ts'
import type { ClusterCredentialSpec } from '../../api/schema.ts'
import { matchesSelector } from '../../api/selector.ts'
import { type ClusterCredentialStatus, MOST_LISTED } from '../../api/status.ts'
import { isConflict, isNotFound, type KubeError, METADATA_ONLY } from '../../kube/client.ts'
import { type Reflector, startReflector } from '../../kube/reflector.ts'
import { copyName, excludedNamespaces } from '../../store/memory.ts'
import { aborted, type Duty, type DutyParts, type StatusSource } from '../duties.ts'
import { createQueue } from '../queue.ts'
import { createRest } from '../rest.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import { createWrites, isNamespaceGone, isRefusal, pathTo } from './apply.ts'
import {
  type CredentialIdentity,
  type FoundSecret,
  found,
  isCopyOf,
  isRight,
  original,
  type StoredSecret,
} from './copy.ts'
import type { CopyMetrics, CopyState } from './metrics.ts'
import { type Found, planCopy, type Step, type Wanted } from './plan.ts'
import { createSources } from './sources.ts'
import { createTally, type Failure, nothing } from './tally.ts'

export interface CopiesParts extends DutyParts {
  readonly copyMetrics: CopyMetrics
  /** There is news for the status of a credential. */
  readonly onNews: (credentialKey: string) => void
  /** Milliseconds for which a source may be gone before its copies go. */
  readonly settle?: number
}

/** A source that is made anew, as by `kubectl replace --force`, is back within this. */
export const SETTLE_MS = 3_000
/** Requests at the same time: the API server's default shares serve many times as many. */
const CONCURRENCY = 16
/** While thousands of copies are made, the status is written so often. */
const WRITE_EVERY_MS = 1_000
const SOURCES_AT_ONCE = 4
/** A refusal may last for weeks, in thousands of namespaces: it is not tried again as often as what fails by chance. */
const FIRST_REFUSAL_MS = 5_000
const LONGEST_REFUSAL_MS = 10 * 60_000

type Facts = Pick<Partial<ClusterCredentialStatus>, 'namespaces' | 'selectedNamespaces' | 'failedNamespaces'>

/** What the running duty hears. */
interface Running {
  credential(name: string): void
  secret(key: string): void
  namespace(name: string): void
  factsOf(credential: CredentialObject): Partial<ClusterCredentialStatus>
  total(): Record<CopyState, number>
}

/** Keeps a copy of each ClusterCredential's Secret in every namespace that it is offered to. */
export function createCopiesDuty(parts: CopiesParts): Duty & StatusSource {
  let running: Running | undefined
  parts.copyMetrics.states(() => running?.total() ?? nothing())
  parts.watched.subscribe({
    credential(key) {
      if (key.startsWith(CLUSTER)) running?.credential(key.slice(CLUSTER.length))
    },
    secret: (key) => running?.secret(key),
    namespace: (name) => running?.namespace(name),
  })
  return {
    name: 'copies',
    factsOf: (credential) => (credential.kind === 'ClusterCredential' && running?.factsOf(credential)) || {},
    async run(signal) {
      const key = await parts.revisionKey(signal)
      signal.throwIfAborted()
      const copies = createCopies(parts, key, signal)
      running = await copies.begin()
      await aborted(signal)
      running = undefined
      await copies.end()
    },
  }
}

const CLUSTER = 'ClusterCredential/'

function createCopies(parts: CopiesParts, key: Buffer, signal: AbortSignal) {
  const { client, watched, ownNamespace, copyMetrics, log, now = Date.now, settle = SETTLE_MS } = parts
  const excluded = excludedNamespaces(ownNamespace)
  const tally = createTally()
  /** Secrets of others that have a copy's name, and their versions when they were looked at. */
  const foreign = new Map<string, string>()
  const changedAt = new Map<string, number>()
  const told = new Map<string, ReadonlySet<string>>()
  /** By place: how often in a row the API server has refused the copy. */
  const refusals = new Map<string, number>()
  /** By place: what became of the last write, where it was not what was written, and until when it is left so. */
  const spoilt = new Map<string, { readonly outcome: string; readonly until: number }>()
  /** What was considered last, so that a change of a status is no reason to go through all namespaces. */
  const considered = new Map<string, string>()
  const rest = createRest<Facts>((credential) => parts.onNews(CLUSTER + credential), WRITE_EVERY_MS)
  const writes = createWrites({ client, metrics: copyMetrics, isLeading: parts.isLeading, signal })
  const sourceQueue = createQueue({
    work: readSource,
    onFailure: (credential, error, retryIn) => report(`ClusterCredential/${credential}`, error, retryIn),
    concurrency: SOURCES_AT_ONCE,
    now,
  })
  const queue = createQueue({ work: settleOne, onFailure: report, concurrency: CONCURRENCY, now })
  const sources = createSources({
    ...{ client, watched, ownNamespace, key, signal, settle, now },
    queue: () => sourceQueue,
  })
  let copies: Reflector<StoredSecret, FoundSecret>

  return { begin, end }

  async function begin(): Promise<Running> {
    let isBegun = false
    const heard = (secret: string) => {
      if (isBegun) secretChanged(secret)
    }
    copies = startReflector<StoredSecret, FoundSecret>({
      client,
      path: '/api/v1/secrets',
      query: `labelSelector=${encodeURIComponent(COPY)}`,
      keep: (secret) => found(secret, key),
      onPut: (_copy, secret) => heard(secret),
      onRemove: (_copy, secret) => heard(secret),
      onTrouble({ during, error, retryIn }) {
        parts.metrics.apiError(during)
        log.warn(
          { problem: error.message, retryInMs: Math.round(retryIn) },
          'the copies could not be watched',
        )
      },
    })
    await Promise.race([copies.synced, aborted(signal)])
    isBegun = true
    for (const { kind, metadata } of watched.credentials())
      if (kind === 'ClusterCredential') sourceQueue.add(metadata.name)
    for (const copy of copies.values()) considerAnyOf(copy)
    return {
      credential: credentialChanged,
      secret: secretChanged,
      namespace: namespaceChanged,
      factsOf,
      total: tally.total,
    }
  }

  async function end(): Promise<void> {
    await Promise.all([copies.stop(), sourceQueue.stop(), queue.stop()])
  }

  // ---- What may have changed -----------------------------------------------------------------------------------------

  /** The object, or its source. */
  function credentialChanged(credential: string): void {
    sourceQueue.add(credential)
    considerIfChanged(credential)
  }

  function considerIfChanged(credential: string): void {
    const { uid, generation, deletionTimestamp } = watched.credential(CLUSTER + credential)?.metadata ?? {}
    const state = JSON.stringify([uid, generation, deletionTimestamp, sources.of(credential)])
    if (considered.get(credential) === state) return
    if (uid === undefined) {
      considered.delete(credential)
      told.delete(credential)
      changedAt.delete(credential)
    } else considered.set(credential, state)
    considerAll(credential)
    rest.changed(credential)
  }

  function namespaceChanged(namespace: string): void {
    for (const { kind, metadata } of watched.credentials())
      if (kind === 'ClusterCredential') consider(metadata.name, namespace)
  }

  function secretChanged(secret: string): void {
    const [namespace, name = ''] = secret.split('/') as [string, string?]
    if (name.startsWith(copyName(''))) consider(name.slice(copyName('').length), namespace)
  }

  /** A copy may be of a ClusterCredential that does not exist any more. */
  function considerAnyOf({ namespace, name }: FoundSecret): void {
    secretChanged(`${namespace}/${name}`)
  }

  async function readSource(credential: string): Promise<void> {
    const seenAt = now()
    await sources.read(credential)
    considerIfChanged(credential)
    if (tally.count(credential, 'waiting') > 0) changedAt.set(credential, seenAt)
    if (queue.depth() === 0) sources.forgetContents()
  }

  function considerAll(credential: string): void {
    const namespaces = new Set(tally.namespaces(credential))
    for (const { name } of watched.namespaces()) namespaces.add(name)
    for (const namespace of namespaces) consider(credential, namespace)
  }

  // ---- Observe, plan -------------------------------------------------------------------------------------------------

  function consider(credential: string, namespace: string): void {
    const step = planCopy(credential, wantedIn(credential, namespace), foundIn(credential, namespace))
    note(credential, namespace, step)
    if (step.do === 'nothing' || step.do === 'wait' || step.do === 'yield') return
    if (!isSpoilt(credential, namespace, step)) queue.add(`${namespace}/${credential}`)
  }

  function wantedIn(credential: string, namespace: string): Wanted {
    const object = watched.credential(CLUSTER + credential)
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return 'nothing'
    const facts = watched.namespace(namespace)
    if (facts === undefined || facts.isEnding) return 'open'
    const { namespaceSelector } = object.spec as ClusterCredentialSpec
    const isSelected = namespaceSelector !== undefined && matchesSelector(namespaceSelector, facts.labels)
    if (!isSelected || excluded.has(namespace)) return 'nothing'
    const source = sources.of(credential)
    if (source === 'open') return 'open'
    if (source === 'gone') return 'nothing'
    return { credential: identityOf(object), original: source }
  }

  function foundIn(credential: string, namespace: string): Found {
    const secret = `${namespace}/${copyName(credential)}`
    const labelled = copies.get(secret)
    if (labelled) return isCopyOf(labelled, credential) ? labelled : 'foreign'
    const version = watched.secretVersion(secret)
    if (version === undefined) {
      foreign.delete(secret)
      return 'none'
    }
    return foreign.get(secret) === version ? 'foreign' : 'unknown'
  }

  function note(credential: string, namespace: string, step: Step): void {
    const isNews = noteStep(credential, namespace, step)
    if (!isNews) return
    const began = changedAt.get(credential)
    if (began !== undefined && tally.count(credential, 'waiting') === 0) {
      changedAt.delete(credential)
      copyMetrics.distributed((now() - began) / 1000)
    }
    rest.changed(credential)
  }

  function noteStep(credential: string, namespace: string, step: Step): boolean {
    switch (step.do) {
      case 'nothing':
        return tally.set(credential, namespace, step.isRight ? 'right' : undefined)
      case 'delete':
        return tally.set(credential, namespace, undefined)
      case 'yield':
        return tally.set(credential, namespace, 'failed', notOurs(credential))
      case 'wait':
        return watched.namespace(namespace)?.isEnding !== false
          ? tally.set(credential, namespace, undefined)
          : false
      default:
        // What has failed stays so until it is known to be better.
        return tally.get(credential, namespace) === 'failed'
          ? false
          : tally.set(credential, namespace, 'waiting')
    }
  }

  // ---- Apply ---------------------------------------------------------------------------------------------------------

  async function settleOne(place: string): Promise<void> {
    const [namespace, credential] = place.split('/') as [string, string]
    try {
      const step = await nextStep(credential, namespace)
      if (step.do === 'wait') return
      await take(credential, namespace, step)
      refusals.delete(place)
      spoilt.delete(place)
    } catch (error) {
      if (signal.aborted || isNamespaceGone(error)) return
      if (error instanceof SpoiltError) {
        const until = now() + refuse(credential, namespace, SPOILT)
        spoilt.set(place, { outcome: error.outcome, until })
      } else if (isRefusal(error)) refuse(credential, namespace, refused(error))
      else throw error
    } finally {
      // Only this one is left.
      if (queue.depth() <= 1) sources.forgetContents()
    }
  }

  /** Returns after how many milliseconds it is tried again. */
  function refuse(credential: string, namespace: string, failure: Failure): number {
    const place = `${namespace}/${credential}`
    const count = refusals.get(place) ?? 0
    refusals.set(place, count + 1)
    const retryIn = Math.min(LONGEST_REFUSAL_MS, FIRST_REFUSAL_MS * 2 ** Math.min(count, 20))
    queue.addAt(place, now() + retryIn)
    // Its own sentence: what the API server says of a refused object may quote it.
    if (count === 0) report(place, new Error(failure.message), retryIn)
    if (tally.set(credential, namespace, 'failed', failure)) rest.changed(credential)
    return retryIn
  }

  async function nextStep(credential: string, namespace: string): Promise<Step> {
    const step = planCopy(credential, wantedIn(credential, namespace), foundIn(credential, namespace))
    if (isSpoilt(credential, namespace, step)) return { do: 'wait' }
    if (step.do !== 'look') return step
    const looked = await lookAt(credential, namespace)
    const next = planCopy(credential, wantedIn(credential, namespace), looked)
    if (isSpoilt(credential, namespace, next)) return { do: 'wait' }
    note(credential, namespace, next)
    return next
  }

  async function lookAt(credential: string, namespace: string): Promise<Found> {
    const secret = { namespace, name: copyName(credential) }
    try {
      // The content of what is somebody else's is none of our business.
      const its = found(await client.get(pathTo(secret), { signal, accept: METADATA_ONLY }), key)
      if (isCopyOf(its, credential)) return found(await client.get(pathTo(secret), { signal }), key)
      foreign.set(`${namespace}/${secret.name}`, its.resourceVersion)
      return 'foreign'
    } catch (error) {
      if (isNotFound(error)) return 'none'
      throw error
    }
  }

  async function take(credential: string, namespace: string, step: Step): Promise<void> {
    if (step.do === 'delete') return writes.delete(step.found)
    if (step.do !== 'create' && step.do !== 'update' && step.do !== 'replace') return
    const object = watched.credential(CLUSTER + credential)
    const source = await sources.contentOf(credential)
    // Either has changed meanwhile, and there is news to come that plans this anew.
    if (object === undefined || source === undefined) return
    if (step.do === 'replace') await writes.delete(step.found)
    const identity = identityOf(object)
    const copy =
      step.do === 'update'
        ? await writes.update(identity, step.found, source)
        : await writes.create(identity, namespace, source)
    const written = found(copy, key)
    if (!isRight(written, identity, original(credential, source, key)))
      throw new SpoiltError(outcome(credential, written))
    // Right, and known to be so before the watch says it.
    copies.offer(copy)
    if (tally.get(credential, namespace) !== 'right') {
      tally.set(credential, namespace, undefined)
      consider(credential, namespace)
    }
  }

  /** It is what somebody made of it when it was written last: to write it once more at once would change nothing. */
  function isSpoilt(credential: string, namespace: string, step: Step): boolean {
    const last = spoilt.get(`${namespace}/${credential}`)
    if (last === undefined || !('found' in step) || now() >= last.until) return false
    return last.outcome === outcome(credential, step.found)
  }

  function outcome(credential: string, { resourceVersion }: FoundSecret): string {
    return JSON.stringify([resourceVersion, sources.of(credential)])
  }

  function report(place: string, error: Error, retryIn: number): void {
    if (isConflict(error)) return
    parts.metrics.apiError('reconcile')
    log.warn(
      { copy: place, problem: error.message, retryInMs: Math.round(retryIn) },
      'a copy could not be brought up to date; it is tried again',
    )
  }

  // ---- What is told --------------------------------------------------------------------------------------------------

  function factsOf({ metadata: { name }, status = {} }: CredentialObject): Facts {
    if (sources.of(name) === 'open') return {}
    const shown = rest.shown(name)
    if (shown) return shown
    const facts = presentFacts(name)
    const fields = Object.entries(facts) as [keyof Facts, unknown][]
    if (fields.some(([field, value]) => !isDeepStrictEqual(value, status[field]))) {
      rest.show(name, facts)
      tellFailures(name)
    }
    return facts
  }

  function presentFacts(name: string): Facts {
    const failures = tally.failures(name)
    const right = tally.count(name, 'right')
    return {
      namespaces: right,
      selectedNamespaces: right + tally.count(name, 'waiting') + failures.length,
      failedNamespaces: failures.length === 0 ? undefined : failures.slice(0, MOST_LISTED),
    }
  }

  /** Once for each namespace; who led before has written into the status what was told. */
  function tellFailures(credential: string): void {
    const object = watched.credential(CLUSTER + credential)
    if (object === undefined) return
    const before = object.status?.failedNamespaces ?? []
    const failures = tally.failures(credential)
    // A list that is full does not say whether the others were told.
    const list = before.length < MOST_LISTED ? before : failures
    const known = told.get(credential) ?? new Set(list.map(({ namespace }) => namespace))
    const fresh = failures.filter(({ namespace }) => !known.has(namespace))
    told.set(credential, new Set(failures.map(({ namespace }) => namespace)))
    const [first] = fresh
    if (first === undefined) return
    const { name, uid, resourceVersion } = object.metadata
    const others = fresh.length === 1 ? '' : ` (and ${fresh.length - 1} more)`
    parts.events.send(
      { apiVersion: 'run.ai/v1', kind: 'ClusterCredential', name, uid, resourceVersion },
      {
        type: 'Warning',
        reason: first.reason,
        message: `Namespace ${first.namespace}${others} has no copy: ${first.message}`,
      },
    )
  }
}

/** The copy came out of the API server as something else than was written. */
class SpoiltError extends Error {
  readonly outcome: string
  constructor(outcome: string) {
    super(SPOILT.message)
    this.outcome = outcome
  }
}

const SPOILT: Failure = {
  reason: 'CopyChanged',
  message:
    'Something in the cluster, such as another admission webhook, changes the copy while it is written. Let it leave Secrets with the label credentials.run.ai/copy alone.',
}

function identityOf({ metadata: { name, uid = '' } }: CredentialObject): CredentialIdentity {
  return { name, uid }
}

function notOurs(credential: string): Failure {
  return {
    reason: 'SecretNotOurs',
    message: `Secret ${copyName(credential)} exists and is not a copy of this ClusterCredential. Delete or rename it there, and the copy will be made.`,
  }
}

/** The API server's sentence names rights, quotas and policies. What it says of the content of an object is left out. */
function refused({ status, reason, message }: KubeError): Failure {
  if (status === 403)
    return { reason: reason || 'Forbidden', message: `The API server refuses it: ${message.slice(0, 500)}` }
  return {
    reason: reason || 'Refused',
    message: `The API server refuses the copy (HTTP ${status}): compare the source with what its type needs.`,
  }
}
