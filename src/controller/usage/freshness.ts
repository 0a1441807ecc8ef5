import type { CredentialObject } from '../watched/credentials.ts'
import type { PodFacts, SecretUse } from '../watched/pods.ts'

/**
 * Clocks of nodes and of the controller differ a little, and a kubelet may hand out what it has read a moment ago. Whoever started
 * so shortly after a rotation is taken for stale: to say so of a pod that is not costs a look, the opposite costs an outage.
 */
export const MARGIN_MS = 5_000

/** Within it copies have come to their namespaces, also where the API server refused them at first: they are tried every 10 minutes. */
export const COPIES_COME_MS = 15 * 60_000

/**
 * Whether the pod runs with variables from before the last rotation of the credential. Files are not asked about, since the kubelet
 * refreshes them in place, nor logins, nor containers that have not started: they will read the Secret when they do.
 *
 *     the last rotation was seen ──► its copy was written here ──► margin ──► started after that: fresh
 *     (of a ClusterCredential only)────────┘  └──► pod made after that: fresh
 *
 * `copiedAt`: when the content of the pod's copy was written last, in milliseconds since 1970; undefined where that is not known.
 */
export function isStale(
  { since, as }: SecretUse,
  pod: Pick<PodFacts, 'createdAt' | 'injected'>,
  credential: CredentialObject,
  copiedAt: number | undefined,
): boolean {
  const { revision, lastRotated } = credential.status ?? {}
  if (as !== 'variables' || since === undefined || revision === undefined || lastRotated === undefined)
    return false
  if (knowsPresent(pod, credential)) return false
  const rotatedAt = Date.parse(lastRotated)
  if (credential.kind === 'ClusterCredential' && copiedAt !== undefined && copiedAt > rotatedAt)
    return pod.createdAt <= copiedAt && since <= copiedAt + MARGIN_MS
  return since <= rotatedAt + MARGIN_MS
}

/**
 * Whether the pod was made with the present content, by its record: that shows which content the injector knew of then, and the
 * Secret itself had no older one. A copy may have been on its way, so that of a ClusterCredential the record counts only of pods
 * that were made long enough after the rotation. When the copy was written last does not tell: one that was deleted, or that its
 * namespace lost for a while, is made again with the content that it had.
 */
export function knowsPresent(
  { createdAt, injected }: Pick<PodFacts, 'createdAt' | 'injected'>,
  { kind, metadata: { name }, status: { revision, lastRotated = '' } = {} }: CredentialObject,
): boolean {
  if (kind === 'ClusterCredential' && !(createdAt > Date.parse(lastRotated) + COPIES_COME_MS)) return false
  return injected.some((it) => it.kind === kind && it.name === name && it.revision === revision)
}
