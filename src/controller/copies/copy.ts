/** What a copy looks like, and by what it is known. */
import { COPY, COPY_OF } from '../../annotations.ts'
import type { KubeObject } from '../../kube/client.ts'
import { copyName } from '../../store/memory.ts'
import { revisionOf } from '../status/revision.ts'
import type { OwnerReference } from '../watched/owners.ts'

/** core/v1 Secret. */
export interface StoredSecret extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly ownerReferences?: readonly OwnerReference[] }
  readonly type?: string
  readonly immutable?: boolean
  readonly data?: Readonly<Record<string, string>>
}

/** What is remembered of a Secret that may be a copy: nothing of its content but a keyed hash. */
export interface FoundSecret {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly type: string
  readonly isImmutable: boolean
  /** It is being deleted. */
  readonly isEnding: boolean
  /** The ClusterCredentials that it says to be a copy of: by label and annotation, and by owner. */
  readonly labelled: string | undefined
  readonly owners: readonly { readonly name: string; readonly uid: string }[]
  readonly fingerprint: string
}

/** The Secret that is copied, as far as it is remembered. */
export interface Original {
  readonly type: string
  readonly fingerprint: string
}

export interface CredentialIdentity {
  readonly name: string
  readonly uid: string
}

export function found(secret: StoredSecret, key: Buffer): FoundSecret {
  const {
    name,
    namespace = '',
    uid = '',
    resourceVersion = '',
    labels = {},
    annotations = {},
  } = secret.metadata
  const owners = secret.metadata.ownerReferences ?? []
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    type: typeOf(secret),
    isImmutable: secret.immutable === true,
    isEnding: secret.metadata.deletionTimestamp !== undefined,
    labelled: labels[COPY] === 'true' ? annotations[COPY_OF] : undefined,
    owners: owners.filter(isClusterCredential).map((owner) => ({ name: owner.name, uid: owner.uid })),
    fingerprint: fingerprint(name, secret, key),
  }
}

export function original(credential: string, secret: StoredSecret, key: Buffer): Original {
  return { type: typeOf(secret), fingerprint: fingerprint(copyName(credential), secret, key) }
}

function typeOf({ type }: StoredSecret): string {
  return type ?? 'Opaque'
}

function isClusterCredential({ apiVersion, kind }: OwnerReference): boolean {
  return kind === 'ClusterCredential' && apiVersion.startsWith('run.ai/')
}

/** Equal for the same content and type. It stays in this process, so that it may be the same in all namespaces. */
function fingerprint(name: string, secret: StoredSecret, key: Buffer): string {
  const content = Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const)
  return revisionOf({ namespace: '', name, type: typeOf(secret), content: new Map(content) }, key)
}

/**
 * Whether the Secret is ours to write: it says so itself, or its owner does. People strip the one or the other; whoever strips
 * both, or never had them, has a Secret of their own. The owner may be a predecessor of the same name: its copies are taken over.
 */
export function isCopyOf(secret: FoundSecret, credential: string): boolean {
  if (secret.name !== copyName(credential)) return false
  return secret.labelled === credential || secret.owners.some(({ name }) => name === credential)
}

/** Whether it is as it should be: made by `copyFor` of this original. */
export function isRight(secret: FoundSecret, credential: CredentialIdentity, its: Original): boolean {
  return (
    secret.fingerprint === its.fingerprint &&
    secret.type === its.type &&
    !secret.isImmutable &&
    secret.labelled === credential.name &&
    secret.owners.some(({ uid }) => uid === credential.uid)
  )
}

/** Type and immutability stay what they are for the life of a Secret. */
export function needsReplacing(secret: FoundSecret, its: Original): boolean {
  return secret.type !== its.type || secret.isImmutable
}

/**
 * The copy for a namespace. Its owner is the ClusterCredential, so that the garbage collector removes it even where no controller
 * runs. Never immutable: it changes with its source.
 */
export function copyFor(
  { name, uid }: CredentialIdentity,
  namespace: string,
  { type, data }: Pick<StoredSecret, 'type' | 'data'>,
): StoredSecret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: copyName(name),
      namespace,
      labels: { [COPY]: 'true', 'app.kubernetes.io/managed-by': 'credential-injector' },
      annotations: { [COPY_OF]: name },
      ownerReferences: [{ apiVersion: 'run.ai/v1', kind: 'ClusterCredential', name, uid }],
    },
    type: type ?? 'Opaque',
    data: data ?? {},
  }
}
