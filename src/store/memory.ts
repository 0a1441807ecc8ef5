import type { Credential, KnownSecret, Lookup, NamespaceView, Policy, Store } from '../api/catalog.ts'
import { MOST_KEYS, notReadyReason } from '../api/readiness.ts'
import type { CredentialSpec } from '../api/schema.ts'
import { matchesSelector } from '../api/selector.ts'
import type { BrokenObject, CatalogObject, ObjectRef, SecretObject, UsableObject } from './objects.ts'

export const DEFAULT_OWNER_NAMESPACE = 'credential-injector'

/** The namespaces where nothing is ever injected: the cluster's own, and the one that holds the shared secrets. */
export function excludedNamespaces(ownerNamespace: string): ReadonlySet<string> {
  return new Set(['kube-system', 'kube-node-lease', 'kube-public', ownerNamespace])
}

/** A catalogue in memory. Every change is in effect for the next view; views that were taken before do not change. */
export interface MemoryStore extends Store {
  /** Adds an object, or replaces the one of the same kind and name. */
  put(object: CatalogObject): void
  remove(ref: ObjectRef): void
  counts(): CatalogCounts
}

/** How many usable objects there are. */
export interface CatalogCounts {
  readonly credentials: number
  readonly clusterCredentials: number
  readonly policies: number
  /** Namespaces that have a Credential. */
  readonly namespaces: number
}

interface Options {
  /** Where the secrets of ClusterCredentials are. */
  readonly ownerNamespace?: string
}

export function createMemoryStore({ ownerNamespace = DEFAULT_OWNER_NAMESPACE }: Options = {}): MemoryStore {
  const contents: Contents = { namespaces: new Map(), clusterCredentials: new Map(), policies: new Map() }
  const excluded = excludedNamespaces(ownerNamespace)
  const views = new Map<string, NamespaceView>()
  let shared: Shared | undefined

  return {
    view(namespace) {
      const known = views.get(namespace)
      if (known) return known
      shared ??= shareable(contents, ownerNamespace)
      const own = contents.namespaces.get(namespace)
      const view = viewOf(namespace, own, shared, !excluded.has(namespace))
      // Requests decide which namespaces are asked for: whoever invents names must not fill the memory.
      if (own === undefined) return view
      if (views.size >= MOST_VIEWS) views.clear()
      views.set(namespace, view)
      return view
    },
    put(object) {
      store(contents, object)
      forget(object)
    },
    remove(ref) {
      discard(contents, ref)
      forget(ref)
    },
    counts: () => count(contents),
  }

  /** Drops exactly the views that may look different now. */
  function forget(changed: ObjectRef): void {
    const namespace = changed.kind === 'Namespace' ? changed.name : changed.namespace
    if (namespace !== undefined) views.delete(namespace)
    if (namespace !== undefined && !(changed.kind === 'Secret' && namespace === ownerNamespace)) return
    shared = undefined
    views.clear()
  }
}

/** A view has an entry for each credential that is offered; most namespaces are quiet, and a view is made in a moment. */
const MOST_VIEWS = 2000

// ---- What is stored --------------------------------------------------------------------------------------------------

interface Contents {
  readonly namespaces: Map<string, NamespaceContents>
  readonly clusterCredentials: Map<string, UsableClusterCredential | BrokenObject>
  readonly policies: Map<string, Policy>
}

type UsableCredential = Extract<UsableObject, { kind: 'Credential' }>
type UsableClusterCredential = Extract<UsableObject, { kind: 'ClusterCredential' }>

interface NamespaceContents {
  labels: Readonly<Record<string, string>>
  readonly credentials: Map<string, UsableCredential | BrokenObject>
  readonly secrets: Map<string, SecretObject>
}

function store(contents: Contents, object: CatalogObject): void {
  if (object.kind === 'ClusterCredential') {
    contents.clusterCredentials.set(object.name, object as UsableClusterCredential | BrokenObject)
  } else if (object.kind === 'CredentialPolicy') {
    const { name, spec, revision } = object
    contents.policies.set(name, { name, spec, revision })
  } else if (object.kind === 'Namespace') {
    namespaceFor(contents, object.name).labels = object.labels
  } else if (object.kind === 'Secret') {
    namespaceFor(contents, object.namespace).secrets.set(object.name, object)
  } else {
    const { credentials } = namespaceFor(contents, object.namespace as string)
    credentials.set(object.name, object as UsableCredential | BrokenObject)
  }
}

function discard(
  { namespaces, clusterCredentials, policies }: Contents,
  { kind, namespace, name }: ObjectRef,
): void {
  if (kind === 'ClusterCredential') clusterCredentials.delete(name)
  else if (kind === 'CredentialPolicy') policies.delete(name)
  const home = kind === 'Namespace' ? name : (namespace ?? '')
  const found = namespaces.get(home)
  if (found === undefined) return
  if (kind === 'Namespace') found.labels = {}
  else if (kind === 'Secret') found.secrets.delete(name)
  else if (kind === 'Credential') found.credentials.delete(name)
  const isEmpty = found.credentials.size + found.secrets.size + Object.keys(found.labels).length === 0
  if (isEmpty) namespaces.delete(home)
}

function namespaceFor({ namespaces }: Contents, name: string): NamespaceContents {
  const known = namespaces.get(name)
  if (known) return known
  const made: NamespaceContents = { labels: {}, credentials: new Map(), secrets: new Map() }
  namespaces.set(name, made)
  return made
}

function count({ namespaces, clusterCredentials, policies }: Contents): CatalogCounts {
  const usable = [...namespaces.values()].map(({ credentials }) => countUsable(credentials))
  return {
    credentials: usable.reduce((sum, number) => sum + number, 0),
    clusterCredentials: countUsable(clusterCredentials),
    policies: policies.size,
    namespaces: usable.filter((number) => number > 0).length,
  }
}

function countUsable(objects: ReadonlyMap<string, object>): number {
  let usable = 0
  for (const object of objects.values()) if (!('broken' in object)) usable++
  return usable
}

// ---- What a namespace sees -------------------------------------------------------------------------------------------

/** What all views have in common, made once for all of them. */
interface Shared {
  readonly clusterCredentials: readonly SharedCredential[]
  /** By name. */
  readonly policies: readonly Policy[]
}

interface SharedCredential {
  readonly name: string
  readonly offered: OfferedTo
  readonly found: Lookup
  /** Whether its name may be suggested to whom it is offered. */
  readonly isShown: boolean
  /** Why namespaces have no copy of the Secret, by namespace. */
  readonly failed?: Readonly<Record<string, string>>
}

type OfferedTo = (labels: Readonly<Record<string, string>>) => boolean

function shareable({ namespaces, clusterCredentials, policies }: Contents, ownerNamespace: string): Shared {
  const secrets = namespaces.get(ownerNamespace)?.secrets
  return {
    clusterCredentials: [...clusterCredentials].sort(byName).map(([name, object]) => {
      const { namespaceSelector: selector } = 'broken' in object ? object : object.spec
      const offered: OfferedTo = (labels) => !!selector && matchesSelector(selector, labels)
      if ('broken' in object) {
        // Whom it is meant for is not known: whoever names it learns that it is broken, and nobody is shown its name.
        const isForAnyone = selector === undefined
        const found = { broken: object.broken }
        return { name, offered: isForAnyone ? () => true : offered, found, isShown: !isForAnyone }
      }
      const { failed } = object.observed ?? {}
      const found = credentialOf(object, copyName(name), secrets?.get(object.spec.secretRef.name))
      return { name, offered, isShown: true, found, failed }
    }),
    policies: [...policies].sort(byName).map(([, policy]) => policy),
  }
}

/** The Secret that holds a ClusterCredential's values in each namespace that it is offered to. */
export function copyName(name: string): string {
  return `credential-${name}`
}

function viewOf(
  namespace: string,
  contents: NamespaceContents | undefined,
  shared: Shared,
  policiesHold: boolean,
): NamespaceView {
  // The API server sets this label on every namespace; its manifest need not say so, or exist.
  const labels = { ...contents?.labels, 'kubernetes.io/metadata.name': namespace }
  const credentials = new Map<string, Lookup>()
  for (const [name, object] of [...(contents?.credentials ?? [])].sort(byName)) {
    credentials.set(name, 'broken' in object ? { broken: object.broken } : ownCredential(object, contents))
  }
  const clusterCredentials = new Map<string, Lookup>()
  for (const { name, offered, found, failed } of shared.clusterCredentials) {
    if (offered(labels)) clusterCredentials.set(name, inNamespace(namespace, found, failed))
  }
  const secrets = secretsOf([...credentials.values(), ...clusterCredentials.values()])
  let names: readonly string[] | undefined
  return {
    namespace,
    credential: (name) => credentials.get(name),
    clusterCredential: (name) => clusterCredentials.get(name),
    knownSecret: (name) => secrets.get(name),
    names: () => {
      names ??= [...credentials.keys(), ...shownOf(shared, clusterCredentials)]
      return names
    },
    policies: policiesHold
      ? shared.policies.filter(({ spec }) => matchesSelector(spec.namespaceSelector, labels))
      : [],
  }
}

function shownOf(shared: Shared, offered: ReadonlyMap<string, Lookup>): string[] {
  const shown = shared.clusterCredentials.filter(({ name, isShown }) => isShown && offered.has(name))
  return shown.map(({ name }) => `cluster/${name}`)
}

/** A ClusterCredential that is ready, but whose copy this one namespace could not be given. */
function inNamespace(namespace: string, found: Lookup, failed: SharedCredential['failed']): Lookup {
  if (found === undefined || 'broken' in found || !failed || !Object.hasOwn(failed, namespace)) return found
  return { ...found, notReady: failed[namespace] }
}

function ownCredential(object: UsableCredential, contents: NamespaceContents | undefined): Credential {
  const { name } = object.spec.secretRef
  return credentialOf(object, name, contents?.secrets.get(name))
}

function credentialOf(
  { kind, name, spec, observed }: UsableCredential | UsableClusterCredential,
  secretName: string,
  secret: SecretObject | undefined,
): Credential {
  const { keys: all, notReady, revision } = observed ?? seen(spec, secretName, secret)
  // A list as long as that may be cut, and what is compared for each container of each pod must stay small: it counts as unknown.
  const keys = all && all.length >= MOST_KEYS ? undefined : all
  return {
    kind,
    name,
    spec,
    secretName,
    keys,
    ...(notReady !== undefined && { notReady }),
    ...(revision !== undefined && { revision }),
  }
}

function seen(
  spec: CredentialSpec,
  name: string,
  secret: SecretObject | undefined,
): Pick<Credential, 'keys' | 'notReady' | 'revision'> {
  return { keys: secret?.keys, notReady: notReadyReason(spec, name, secret) }
}

/** Only secrets that a usable credential names are known; the first one by name, where several name the same. */
function secretsOf(found: readonly Lookup[]): ReadonlyMap<string, KnownSecret> {
  const secrets = new Map<string, KnownSecret>()
  for (const credential of found) {
    if (credential === undefined || 'broken' in credential || secrets.has(credential.secretName)) continue
    secrets.set(credential.secretName, { credential, keys: credential.keys })
  }
  return secrets
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}
