import type { PolicyRevision } from '../api/policy-path.ts'
import type {
  ClusterCredentialSpec,
  CredentialPolicySpec,
  CredentialSpec,
  LabelSelector,
} from '../api/schema.ts'

/** What the catalogue is made of. */
export type CatalogObject = UsableObject | BrokenObject

/** The parts of Kubernetes objects that the catalogue needs, and nothing else of them. */
export type UsableObject =
  | {
      readonly kind: 'Credential'
      readonly namespace: string
      readonly name: string
      readonly spec: CredentialSpec
      readonly observed?: Observed
    }
  | {
      readonly kind: 'ClusterCredential'
      readonly name: string
      readonly spec: ClusterCredentialSpec
      readonly observed?: Observed
    }
  | {
      readonly kind: 'CredentialPolicy'
      readonly name: string
      readonly spec: CredentialPolicySpec
      readonly revision?: PolicyRevision
    }
  | { readonly kind: 'Namespace'; readonly name: string; readonly labels: Readonly<Record<string, string>> }
  | SecretObject

/**
 * What the controller of a cluster has found out about a credential's Secret. Where it is given, even empty, nothing is concluded
 * from Secrets in the catalogue: in a cluster there are none.
 */
export interface Observed {
  /** Names of the secret's keys; undefined when not known. */
  readonly keys?: readonly string[]
  /** A sentence saying why the secret cannot be used yet. */
  readonly notReady?: string
  readonly revision?: string
  /** Of a ClusterCredential: why namespaces have no copy of the Secret, by namespace. */
  readonly failed?: Readonly<Record<string, string>>
}

/** A Secret without its values. */
export interface SecretObject {
  readonly kind: 'Secret'
  readonly namespace: string
  readonly name: string
  readonly type: string
  /** Names of its keys. */
  readonly keys: readonly string[]
}

/** A credential whose manifest could not be read. Pods that name it are told so. */
export interface BrokenObject {
  readonly kind: 'Credential' | 'ClusterCredential'
  /** Of a Credential. */
  readonly namespace?: string
  readonly name: string
  /** Where its manifest is and what is wrong with it, as a sentence that begins with `its manifest`. */
  readonly broken: string
  /** Of a ClusterCredential: whom it is offered to; null for nobody, undefined where that itself cannot be read. */
  readonly namespaceSelector?: LabelSelector | null
}

export interface ObjectRef {
  readonly kind: CatalogObject['kind']
  /** Undefined for what belongs to the cluster. */
  readonly namespace?: string
  readonly name: string
}

/** Equal for objects that would be one and the same in a cluster. */
export function keyOf({ kind, namespace = '', name }: ObjectRef): string {
  return `${kind}/${namespace}/${name}`
}

/** `Credential runai-team-a/wandb-credentials` */
export function describe({ kind, namespace, name }: ObjectRef): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`
}
