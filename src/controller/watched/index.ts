import type { CredentialPolicySpec } from '../../api/schema.ts'
import type { PolicyStatus } from '../../api/status.ts'
import type { KubeClient, KubeObject, ObjectMeta } from '../../kube/client.ts'
import { type Reflector, startReflector, type Trouble } from '../../kube/reflector.ts'
import {
  CREDENTIAL_KINDS,
  type CredentialKind,
  type CredentialObject,
  keptCredential,
  keyOf,
  placeOf,
  secretKeyOf,
} from './credentials.ts'
import {
  BETWEEN,
  type BetweenKind,
  type OwnedObject,
  type OwnerReference,
  ownerIn,
  type Workload,
  workloadOf,
} from './owners.ts'
import { factsOf, type PodFacts, type StoredPod } from './pods.ts'
import { copiedAt, type SecretFacts, type WrittenObject } from './secrets.ts'

export interface PolicyObject {
  readonly metadata: ObjectMeta
  readonly spec: CredentialPolicySpec
  readonly status?: PolicyStatus
}

/** A namespace, as far as it matters who selects it. */
export interface NamespaceFacts {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Nothing new can be made in it. */
  readonly isEnding: boolean
}

/**
 * The cluster as far as the controller knows it: credentials and policies as a whole, of Secrets only names and versions, of
 * namespaces the labels, of pods which Secrets they use, and whose they are.
 */
export interface Watched {
  /** Resolves when everything has been listed once. */
  readonly synced: Promise<unknown>
  credential(key: string): CredentialObject | undefined
  credentials(): Iterable<CredentialObject>
  /** Keys of all credentials. */
  keys(): Iterable<string>
  /** `resourceVersion` of a Secret, by `NAMESPACE/NAME`; undefined if there is none of that name. */
  secretVersion(secretKey: string): string | undefined
  /** When the content of a copy of a ClusterCredential's Secret was written last, in milliseconds since 1970. */
  copiedAt(secretKey: string): number | undefined
  namespace(name: string): NamespaceFacts | undefined
  namespaces(): Iterable<NamespaceFacts>
  policy(name: string): PolicyObject | undefined
  policies(): Iterable<PolicyObject>
  pods(): Iterable<PodFacts>
  /** Who has made the pod in the end, such as a Deployment; undefined for a bare pod. */
  workloadOf(pod: PodFacts): Workload | undefined
  /** Tells of everything that happens from now on. What is there already is not told. */
  subscribe(changes: Changes): void
  /** Takes what the API server answered to a change, which the watch will bring in a moment. */
  offer(object: CredentialObject): void
  offerPolicy(object: PolicyObject): void
  staleSeconds(): [resource: string, seconds: number][]
  stop(): Promise<void>
}

/** Something has come, changed or gone; what it is now can be asked. */
export interface Changes {
  /** By key: the object, or the Secret that it names. */
  credential?(key: string): void
  /** By `NAMESPACE/NAME`: any Secret. */
  secret?(key: string): void
  namespace?(name: string): void
  policy?(name: string): void
  /** `now` is undefined when it is gone, `before` when it is new. */
  pod?(now: PodFacts | undefined, before: PodFacts | undefined): void
  /** By `KIND/NAMESPACE/NAME`: `workloadOf` has another answer for the pods of this ReplicaSet or Job, if it has any. */
  owner?(key: string): void
}

interface WatchSettings {
  readonly client: Pick<KubeClient, 'get' | 'stream'>
  /** Where the secrets of ClusterCredentials are. */
  readonly ownNamespace: string
  readonly onTrouble?: (resource: string, trouble: Trouble) => void
  readonly onRecovery?: (resource: string) => void
}

export function watchCluster(settings: WatchSettings): Watched {
  const { client, ownNamespace } = settings
  const subscribers: Changes[] = []
  /** By Secret: the credentials that name it. */
  const users = new Map<string, Set<string>>()
  const all: [string, Pick<Reflector<never, unknown>, 'synced' | 'staleSeconds' | 'stop'>][] = []

  const followed = {
    Credential: followCredentials('Credential'),
    ClusterCredential: followCredentials('ClusterCredential'),
  }
  const secrets = follow<WrittenObject, SecretFacts>('secrets', {
    path: '/api/v1/secrets',
    metadataOnly: true,
    keep: (secret) => ({ version: secret.metadata.resourceVersion as string, copiedAt: copiedAt(secret) }),
    onPut: (_facts, key) => tellOfSecret(key),
    onRemove: (_facts, key) => tellOfSecret(key),
  })
  const namespaces = follow<KubeObject, NamespaceFacts>('namespaces', {
    path: '/api/v1/namespaces',
    metadataOnly: true,
    keep: ({ metadata: { name, labels = {}, deletionTimestamp } }) => ({
      name,
      labels,
      isEnding: deletionTimestamp !== undefined,
    }),
    onPut: ({ name }) => tell(({ namespace }) => namespace?.(name)),
    onRemove: ({ name }) => tell(({ namespace }) => namespace?.(name)),
  })
  const policies = follow<PolicyObject, PolicyObject>('credentialpolicies', {
    path: '/apis/run.ai/v1/credentialpolicies',
    keep: keptPolicy,
    onPut: (_object, name) => tell(({ policy }) => policy?.(name)),
    onRemove: (_object, name) => tell(({ policy }) => policy?.(name)),
  })
  const pods = follow<StoredPod, PodFacts>('pods', {
    path: '/api/v1/pods',
    keep: factsOf,
    onPut: (now, _key, before) => tell(({ pod }) => pod?.(now, before)),
    onRemove: (gone) => tell(({ pod }) => pod?.(undefined, gone)),
  })
  const between = {
    ReplicaSet: followBetween('ReplicaSet'),
    Job: followBetween('Job'),
  }

  return {
    synced: Promise.all(all.map(([, { synced }]) => synced)),
    credential(key) {
      const { kind, place } = placeOf(key)
      return followed[kind].get(place)
    },
    *credentials() {
      yield* followed.Credential.values()
      yield* followed.ClusterCredential.values()
    },
    *keys() {
      for (const object of this.credentials()) yield keyOf(object)
    },
    secretVersion: (key) => secrets.get(key)?.version,
    copiedAt: (key) => secrets.get(key)?.copiedAt,
    namespace: (name) => namespaces.get(name),
    namespaces: () => namespaces.values(),
    policy: (name) => policies.get(name),
    policies: () => policies.values(),
    pods: () => pods.values(),
    workloadOf: (pod) => workloadOf(pod, (kind, key) => between[kind].get(key)),
    subscribe: (changes) => void subscribers.push(changes),
    offer: (object) => void followed[object.kind].offer(object),
    offerPolicy: (object) => void policies.offer(object),
    staleSeconds: () => all.map(([resource, reflector]) => [resource, reflector.staleSeconds()]),
    async stop() {
      await Promise.all(all.map(([, reflector]) => reflector.stop()))
    },
  }

  type Followed<Source extends KubeObject, Kept> = Omit<
    Parameters<typeof startReflector<Source, Kept>>[0],
    'client' | 'onTrouble' | 'onRecovery'
  >

  function follow<Source extends KubeObject, Kept>(
    resource: string,
    what: Followed<Source, Kept>,
  ): Reflector<Source, Kept> {
    const reflector = startReflector<Source, Kept>({
      ...what,
      client,
      onTrouble: (trouble) => settings.onTrouble?.(resource, trouble),
      onRecovery: () => settings.onRecovery?.(resource),
    })
    all.push([resource, reflector])
    return reflector
  }

  function followCredentials(kind: CredentialKind): Reflector<CredentialObject, CredentialObject> {
    return follow<CredentialObject, CredentialObject>(CREDENTIAL_KINDS[kind], {
      path: `/apis/run.ai/v1/${CREDENTIAL_KINDS[kind]}`,
      keep: (object) => keptCredential(kind, object),
      onPut(now, _key, before) {
        if (before) forgetUse(before)
        noteUse(now)
        tell(({ credential }) => credential?.(keyOf(now)))
      },
      onRemove(gone) {
        forgetUse(gone)
        tell(({ credential }) => credential?.(keyOf(gone)))
      },
    })
  }

  function followBetween(kind: BetweenKind): Reflector<OwnedObject, OwnerReference | undefined> {
    return follow<OwnedObject, OwnerReference | undefined>(`${kind.toLowerCase()}s`, {
      path: BETWEEN[kind],
      metadataOnly: true,
      keep: ownerIn,
      onPut(now, key, before) {
        if (now?.uid !== before?.uid) tell(({ owner }) => owner?.(`${kind}/${key}`))
      },
      onRemove: (_owner, key) => tell(({ owner }) => owner?.(`${kind}/${key}`)),
    })
  }

  function tell(what: (changes: Changes) => void): void {
    for (const subscriber of subscribers) what(subscriber)
  }

  function noteUse(object: CredentialObject): void {
    const secret = secretKeyOf(object, ownNamespace)
    const known = users.get(secret)
    if (known) known.add(keyOf(object))
    else users.set(secret, new Set([keyOf(object)]))
  }

  function forgetUse(object: CredentialObject): void {
    const secret = secretKeyOf(object, ownNamespace)
    const known = users.get(secret)
    known?.delete(keyOf(object))
    if (known?.size === 0) users.delete(secret)
  }

  function tellOfSecret(secret: string): void {
    for (const key of users.get(secret) ?? []) tell(({ credential }) => credential?.(key))
    tell((changes) => changes.secret?.(secret))
  }
}

function keptPolicy({ metadata, spec, status }: PolicyObject): PolicyObject {
  const { name, uid, resourceVersion, generation, deletionTimestamp } = metadata
  return { metadata: { name, uid, resourceVersion, generation, deletionTimestamp }, spec, status }
}
