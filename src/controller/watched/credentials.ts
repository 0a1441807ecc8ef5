import type { ClusterCredentialSpec, CredentialSpec } from '../../api/schema.ts'
import type { ClusterCredentialStatus, CredentialStatus } from '../../api/status.ts'
import type { ObjectMeta } from '../../kube/client.ts'

/** A Credential or ClusterCredential as the API server has it. */
export interface CredentialObject {
  readonly kind: CredentialKind
  readonly metadata: ObjectMeta
  readonly spec: CredentialSpec | ClusterCredentialSpec
  readonly status?: CredentialStatus & ClusterCredentialStatus
}

export const CREDENTIAL_KINDS = {
  Credential: 'credentials',
  ClusterCredential: 'clustercredentials',
} as const
export type CredentialKind = keyof typeof CREDENTIAL_KINDS

export function keptCredential(
  kind: CredentialKind,
  { metadata, spec, status }: CredentialObject,
): CredentialObject {
  const { name, namespace, uid, resourceVersion, generation, deletionTimestamp } = metadata
  return {
    kind,
    metadata: { name, namespace, uid, resourceVersion, generation, deletionTimestamp },
    spec,
    status,
  }
}

/** `Credential/team-a/wandb`, `ClusterCredential/dockerhub` */
export function keyOf({ kind, metadata: { namespace, name } }: CredentialObject): string {
  return namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`
}

export function placeOf(key: string): { kind: CredentialKind; place: string } {
  const slash = key.indexOf('/')
  return { kind: key.slice(0, slash) as CredentialKind, place: key.slice(slash + 1) }
}

/** Where the Secret is: of a ClusterCredential in the injector's own namespace. */
export function secretNamespaceOf({ metadata }: CredentialObject, ownNamespace: string): string {
  return metadata.namespace ?? ownNamespace
}

/** `NAMESPACE/NAME` */
export function secretKeyOf(object: CredentialObject, ownNamespace: string): string {
  return `${secretNamespaceOf(object, ownNamespace)}/${object.spec.secretRef.name}`
}

/** The object's path in the API. */
export function pathOf({ kind, metadata: { namespace, name } }: CredentialObject): string {
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`
  return `/apis/run.ai/v1${scope}/${CREDENTIAL_KINDS[kind]}/${name}`
}
