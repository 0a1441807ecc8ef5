import type { ClusterCredentialStatus, ReadyReason } from '../../api/status.ts'
import { isConflict, isNotFound } from '../../kube/client.ts'
import { aborted, type Duty, type DutyParts, mustLead, type StatusSource } from '../duties.ts'
import type { CredentialCount, ReconcileResult } from '../metrics.ts'
import { createQueue, type WorkQueue } from '../queue.ts'
import { type CredentialObject, pathOf, secretKeyOf, secretNamespaceOf } from '../watched/credentials.ts'
import { conditionOf } from './conditions.ts'
import { inspect, type ReadSecret, type SecretReport } from './inspect.ts'
import { statusPatch } from './patch.ts'
import { planStatus, type StatusPlan } from './plan.ts'
import { READY_REASONS } from './reasons.ts'

export interface StatusDuty extends Duty {
  /** Asks it, from now on, for its part of every status. */
  learnFrom(source: StatusSource): void
  /** There is news of a credential. Does nothing while another instance leads: who begins looks at everything. */
  changed(credentialKey: string): void
  /** The same, and pods may be refused until its status says so. */
  changedFirst(credentialKey: string): void
  /** Credentials that wait to be looked at. */
  depth(): number
  /** Resolves when everything has been looked at and there is nothing to do at present. */
  idle(): Promise<void>
}

/** Keeps `status` of every Credential and ClusterCredential: observe → plan → apply. */
export function createStatusDuty(parts: DutyParts): StatusDuty {
  const sources: StatusSource[] = []
  let queue: WorkQueue | undefined
  const begun = Promise.withResolvers<void>()
  return {
    name: 'status',
    learnFrom: (source) => void sources.push(source),
    changed: (key) => queue?.add(key),
    changedFirst: (key) => queue?.addFirst(key),
    depth: () => queue?.depth() ?? 0,
    idle: () => begun.promise.then(() => queue?.idle()),
    async run(signal) {
      const key = await parts.revisionKey(signal)
      signal.throwIfAborted()
      const reconciler = createReconciler(parts, sources, key, signal)
      queue = createQueue({
        work: reconciler.look,
        onFailure: (credential, error, retryIn) => report(parts, credential, error, retryIn),
        now: parts.now,
      })
      reconciler.wakeBy(queue)
      for (const credential of parts.watched.keys()) queue.add(credential)
      begun.resolve()
      await aborted(signal)
      await queue.stop()
      queue = undefined
    },
  }
}

/** A conflict is not an error: the credential changed while it was looked at, and is looked at again. */
function report({ metrics, log }: DutyParts, credential: string, error: Error, retryIn: number): void {
  if (isConflict(error)) return
  metrics.apiError('reconcile')
  log.warn(
    { credential, problem: error.message, retryInMs: Math.round(retryIn) },
    'the status could not be brought up to date; it is tried again',
  )
}

// ---- Observe, plan, apply --------------------------------------------------------------------------------------------

/** What was found in a Secret, and for which question. */
interface Inspected {
  readonly uid: string | undefined
  readonly generation: number | undefined
  /** As the watch had it, and as it was read, which may be later. */
  readonly versions: readonly (string | undefined)[]
  readonly report: SecretReport
}

interface StoredSecret {
  readonly metadata: { readonly resourceVersion?: string }
  readonly type?: string
  readonly data?: Readonly<Record<string, string>>
}

function createReconciler(
  parts: DutyParts,
  sources: readonly StatusSource[],
  key: Buffer,
  signal: AbortSignal,
) {
  const { client, watched, events, metrics, ownNamespace, now = Date.now } = parts
  const inspected = new Map<string, Inspected>()
  let queue: Pick<WorkQueue, 'addAt'> | undefined

  return {
    look,
    wakeBy(its: Pick<WorkQueue, 'addAt'>) {
      queue = its
    },
  }

  async function look(credentialKey: string): Promise<void> {
    try {
      metrics.reconciled(await reconcile(credentialKey))
    } catch (error) {
      if (signal.aborted) return
      metrics.reconciled(isConflict(error) ? 'conflict' : 'error')
      throw error
    }
  }

  async function reconcile(credentialKey: string): Promise<ReconcileResult> {
    const credential = watched.credential(credentialKey)
    if (credential === undefined || credential.metadata.deletionTimestamp !== undefined) {
      inspected.delete(credentialKey)
      queue?.addAt(credentialKey, undefined)
      return 'gone'
    }
    const secret = await observe(credentialKey, credential)
    const plan = planStatus({
      spec: credential.spec,
      generation: credential.metadata.generation ?? 0,
      namespace: secretNamespaceOf(credential, ownNamespace),
      before: credential.status,
      secret,
      others: factsOf(credential),
      now: now(),
    })
    const result = plan.status === undefined ? 'unchanged' : await write(credential, plan.status)
    if (result === 'written') for (const event of plan.events) events.send(subjectOf(credential), event)
    queue?.addAt(credentialKey, plan.wakeAt)
    return result
  }

  function factsOf(credential: CredentialObject): Partial<ClusterCredentialStatus> {
    return Object.assign({}, ...sources.map((source) => source.factsOf(credential)))
  }

  /** Reads the content only if it, or what is to be looked for in it, is not what it was. */
  async function observe(
    credentialKey: string,
    credential: CredentialObject,
  ): Promise<SecretReport | undefined> {
    const version = watched.secretVersion(secretKeyOf(credential, ownNamespace))
    if (version === undefined) {
      inspected.delete(credentialKey)
      return undefined
    }
    const { uid, generation } = credential.metadata
    const known = inspected.get(credentialKey)
    if (known?.uid === uid && known?.generation === generation && known?.versions.includes(version))
      return known.report
    const stored = await read(credential)
    if (stored === undefined) return undefined
    const report = inspect(credential.spec, decoded(credential, stored), key)
    const versions = [version, stored.metadata.resourceVersion]
    inspected.set(credentialKey, { uid, generation, versions, report })
    return report
  }

  async function read(credential: CredentialObject): Promise<StoredSecret | undefined> {
    const { name } = credential.spec.secretRef
    const namespace = secretNamespaceOf(credential, ownNamespace)
    try {
      metrics.secretRead()
      return await client.get<StoredSecret>(`/api/v1/namespaces/${namespace}/secrets/${name}`, { signal })
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  function decoded(credential: CredentialObject, { type, data }: StoredSecret): ReadSecret {
    const values = Object.entries(data ?? {})
    return {
      namespace: secretNamespaceOf(credential, ownNamespace),
      name: credential.spec.secretRef.name,
      type: type ?? 'Opaque',
      content: new Map(values.map(([name, value]) => [name, Buffer.from(value, 'base64')])),
    }
  }

  async function write(
    credential: CredentialObject,
    status: NonNullable<StatusPlan['status']>,
  ): Promise<ReconcileResult> {
    mustLead(parts.isLeading)
    const { uid, resourceVersion } = credential.metadata
    // With its version: what was planned from an old status would set transition times back.
    const body = { metadata: { uid, resourceVersion }, status: statusPatch(credential.status, status) }
    try {
      const path = `${pathOf(credential)}/status`
      const after = await client.patch<CredentialObject>(path, 'application/merge-patch+json', body, {
        signal,
      })
      watched.offer({ ...after, kind: credential.kind })
      return 'written'
    } catch (error) {
      if (isNotFound(error)) return 'gone'
      throw error
    }
  }
}

function subjectOf({ kind, metadata }: CredentialObject) {
  const { name, namespace, uid, resourceVersion } = metadata
  return { apiVersion: 'run.ai/v1', kind, name, namespace, uid, resourceVersion }
}

// ---- Counts ----------------------------------------------------------------------------------------------------------

/** By kind, reason of Ready and status of Healthy. What others wrote there counts as `Other`, so that labels stay few. */
export function countCredentials(credentials: Iterable<CredentialObject>): CredentialCount[] {
  const counts = new Map<string, CredentialCount>()
  for (const { kind, status } of credentials) {
    const ready = readyLabel(conditionOf(status?.conditions, 'Ready')?.reason)
    const healthy = conditionOf(status?.conditions, 'Healthy')?.status ?? 'Unknown'
    const label = `${kind}/${ready}/${healthy}`
    counts.set(label, { kind, ready, healthy, count: (counts.get(label)?.count ?? 0) + 1 })
  }
  return [...counts.values()]
}

function readyLabel(reason: string | undefined): ReadyReason | 'Unknown' | 'Other' {
  if (reason === undefined) return 'Unknown'
  return reason in READY_REASONS ? (reason as ReadyReason) : 'Other'
}
