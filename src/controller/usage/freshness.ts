import type { CredentialObject } from '../watched/credentials.ts'
import type { PodFacts, SecretUse } from '../watched/pods.ts'

/**
 * Clocks of nodes and of the controller differ a little, and a kubelet may hand out what it has read a moment ago. Whoever started
 * so shortly after a rotation is taken for stale: to say so of a pod that is not costs a look, the opposite costs an outage.
 */
export const MARGIN_MS = 5_000

/**
 * Whether the pod runs with variables from before the last rotation of the credential. Files are not asked about, since the kubelet
 * refreshes them in place, nor logins, nor containers that have not started: they will read the Secret when they do.
 *
 *     the last rotation was seen ──► its copy was written here ──► margin ──► started after that: fresh
 *     (of a ClusterCredential only)────────┘  └──► pod made after that: fresh
 *
 * A pod's record shows which content the injector knew of when the pod was made. The Secret itself had no older one then, so that
 * the present revision there is proof enough; but a copy may have been on its way.
 *
 * `copiedAt`: when the content of the pod's copy was written last, in milliseconds since 1970; undefined where that is not known.
 */
export function isStale(
  { since, as }: SecretUse,
  { createdAt, injected }: Pick<PodFacts, 'createdAt' | 'injected'>,
  { kind, metadata, status }: CredentialObject,
  copiedAt: number | undefined,
): boolean {
  const { revision, lastRotated } = status ?? {}
  if (as !== 'variables' || since === undefined || revision === undefined || lastRotated === undefined)
    return false
  const rotatedAt = Date.parse(lastRotated)
  const isCopy = kind === 'ClusterCredential'
  if (isCopy && copiedAt !== undefined && copiedAt > rotatedAt)
    return createdAt <= copiedAt && since <= copiedAt + MARGIN_MS
  if (since > rotatedAt + MARGIN_MS) return false
  return isCopy || !injected.some((it) => isOf(it, kind, metadata.name) && it.revision === revision)
}

function isOf(record: { kind: string; name: string }, kind: string, name: string): boolean {
  return record.kind === kind && record.name === name
}
