import type { PolicyRevision, SentBy } from './policy-path.ts'
import type { CredentialPolicySpec, CredentialSpec } from './schema.ts'

/** A credential as the engine sees it: resolved to a secret of the pod's own namespace. Never holds a value of that secret. */
export interface Credential {
  readonly kind: 'Credential' | 'ClusterCredential'
  readonly name: string
  readonly spec: CredentialSpec
  /** The Secret in the pod's namespace: `spec.secretRef.name`, or the copy `credential-<name>` of a ClusterCredential. */
  readonly secretName: string
  /** Names of the secret's keys; undefined when they are not known (the Secret does not exist yet). */
  readonly keys: readonly string[] | undefined
  /** A sentence saying why the secret cannot be used yet; undefined when it can. */
  readonly notReady?: string
  /** Revision of the secret's content; undefined when not known, as offline. */
  readonly revision?: string
}

/** A credential whose manifest could not be read; the sentence says where and why. */
interface BrokenCredential {
  readonly broken: string
}

export type Lookup = Credential | BrokenCredential | undefined

export interface Policy {
  readonly name: string
  readonly spec: CredentialPolicySpec
  /** Undefined where there is no such thing, as in a folder. */
  readonly revision?: PolicyRevision
}

/** A Secret that some credential of the namespace names. */
export interface KnownSecret {
  readonly credential: Credential
  /** Names of its keys; undefined when not known. */
  readonly keys: readonly string[] | undefined
}

/** What one namespace has to offer: the engine's only window on the catalogue. Every look-up is a map access. */
export interface NamespaceView {
  readonly namespace: string
  /** The namespace's own Credential of that name. */
  credential(name: string): Lookup
  /** The ClusterCredential of that name if it is offered to this namespace. */
  clusterCredential(name: string): Lookup
  /** A secret of this namespace that a credential usable here names. */
  knownSecret(secretName: string): KnownSecret | undefined
  /** Every name that could stand in the annotation, cluster credentials as `cluster/NAME`; for suggestions. */
  names(): readonly string[]
  /** Policies whose namespace selector matches, ordered by name. */
  readonly policies: readonly Policy[]
  /** Names, as they are written, that may exist although they are not found here; why that could not be checked. */
  readonly unchecked?: ReadonlyMap<string, string>
}

/** Where credentials come from. The view is a snapshot: it does not change while it is used. */
export interface Store {
  view(namespace: string): NamespaceView
}

/** `NAME`, or `cluster/NAME`. */
export interface WantedName {
  readonly cluster: boolean
  readonly name: string
}

/**
 * Asks the source of a store for what it has not brought yet: a pod may be created right after its credential, or its
 * namespace, and be here before the news of them.
 */
export interface DirectReads {
  /** Whether the labels of the namespace are known to the store. */
  knowsNamespace(namespace: string): boolean
  /**
   * Asks for names that the namespace's view does not have, and for the namespace if it is not known. Undefined if there is
   * nothing to ask: the answers are known already. Never rejects; afterwards the store knows what was found. `sentBy` asks
   * for that policy and for the namespace in any case: what is known of them is too old.
   */
  lookUp(namespace: string, names: readonly WantedName[], sentBy?: SentBy): Promise<LookedUp> | undefined
}

/** What could not be found out. */
export interface LookedUp {
  /** For `NamespaceView.unchecked`. */
  readonly unchecked: ReadonlyMap<string, string>
  /** Why it is not known which policies hold in the namespace, by its labels or their own; undefined if it is. */
  readonly policiesUnchecked: string | undefined
}
