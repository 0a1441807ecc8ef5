/**
 * Who uses which credential, as the pods themselves show it: a pod uses what it refers to, whether the injector put the reference
 * there or somebody's hand. Without watches and clocks: it is told what there is, in whatever order.
 *
 *     pods ──refer to──► Secrets ◄──name── Credentials of the namespace
 *      │                    ▲
 *      └─ owners            └── credential-NAME ◄── ClusterCredentials that are offered to the namespace
 *
 * What is asked for is counted then, and remembered until something of it changes: a crowd of pods costs as many counts as there
 * are questions, not as there are pods.
 */
import { isDeepStrictEqual } from 'node:util'
import { copyName } from '../../store/memory.ts'
import { type CredentialObject, keyOf } from '../watched/credentials.ts'
import type { Workload } from '../watched/owners.ts'
import type { PodFacts } from '../watched/pods.ts'
import { isStale } from './freshness.ts'

/** What the index asks the world. The answers may change only when the index is told so. */
export interface Surroundings {
  /** Who has made the pod in the end; undefined for a bare pod. */
  workloadOf(pod: PodFacts): Workload | undefined
  /** Whether the ClusterCredential is offered to the namespace. */
  isOffered(clusterCredential: CredentialObject, namespace: string): boolean
  /** When the content of a copy, by `NAMESPACE/NAME`, was written last; in milliseconds since 1970. */
  copiedAt(secretKey: string): number | undefined
  /** The answer of `usageOf` may be another one now. */
  onChange?(credentialKey: string): void
}

/** Who uses one credential. */
export interface Usage {
  /** Pods that have not ended. */
  readonly pods: number
  /** Those of them that refer to the Secret without a record of the injector. */
  readonly byHand: number
  /** Owners of pods; bare pods have none. */
  readonly workloads: number
  /** The first by name: `Deployment/notebook`, `Pod/debug (by hand)`, of ClusterCredentials `team-a/Deployment/notebook`. */
  readonly names: readonly string[]
  readonly stale: {
    readonly pods: number
    /** As `names`, with who it is. */
    readonly users: readonly { readonly name: string; readonly subject: Workload }[]
  }
}

export interface UsageIndex {
  /** A credential that is new, or is not what it was. */
  putCredential(credential: CredentialObject): void
  removeCredential(key: string): void
  putPod(pod: PodFacts): void
  removePod(pod: Pick<PodFacts, 'namespace' | 'name'>): void
  /** `ReplicaSet/NAMESPACE/NAME` has another owner than before. */
  ownerChanged(ownerKey: string): void
  /** Other ClusterCredentials may be offered to it now. */
  namespaceChanged(name: string): void
  /** `NAMESPACE/NAME` */
  secretChanged(secretKey: string): void
  /** Of a credential that is not known: that nobody uses it. */
  usageOf(credentialKey: string): Usage
  /** The credentials of whose last rotation the pod's variables know nothing. */
  missedBy(pod: PodFacts): CredentialObject[]
  /** Keys of those that are used, in a lasting order. */
  used(): Iterable<string>
}

/** As many names as a status has room for. */
const MOST_NAMES = 20

const NOBODY: Usage = { pods: 0, byHand: 0, workloads: 0, names: [], stale: { pods: 0, users: [] } }

export function createUsageIndex(surroundings: Surroundings): UsageIndex {
  const credentials = new Map<string, CredentialObject>()
  /** Keys of credentials by their Secret's place: `team-a/wandb-secret`, of ClusterCredentials `/credential-dockerhub`. */
  const named = new Map<string, Set<string>>()
  /** Pods that use any Secret and have not ended, by `NAMESPACE/NAME`. */
  const pods = new Map<string, PodFacts>()
  /** The same by name of the Secret and then by namespace, */
  const users = new Map<string, Map<string, Set<PodFacts>>>()
  /** and by direct owner: `ReplicaSet/team-a/notebook-7d9f`. */
  const owned = new Map<string, Set<PodFacts>>()
  const counted = new Map<string, Usage>()

  return {
    putCredential(credential) {
      const key = keyOf(credential)
      const before = credentials.get(key)
      credentials.set(key, credential)
      if (before !== undefined && isSameUse(before, credential)) return
      const affected = new Set([key, ...(before ? rivalsOf(before) : [])])
      if (before !== undefined) takeFrom(named, placeOf(before), key)
      addTo(named, placeOf(credential), key)
      changedAll(affected.union(new Set(rivalsOf(credential))))
    },
    removeCredential(key) {
      const before = credentials.get(key)
      if (before === undefined) return
      const affected = new Set([key, ...rivalsOf(before)])
      takeFrom(named, placeOf(before), key)
      credentials.delete(key)
      changedAll(affected)
    },
    putPod(pod) {
      const before = pods.get(`${pod.namespace}/${pod.name}`)
      if (before !== undefined && isDeepStrictEqual(shapeOf(before), shapeOf(pod))) return
      forget(pod)
      if (!pod.isOver && pod.uses.length > 0) remember(pod)
    },
    removePod: forget,
    ownerChanged(ownerKey) {
      for (const pod of owned.get(ownerKey) ?? []) changedFor(pod)
    },
    namespaceChanged(name) {
      for (const [secret, places] of users)
        if (places.has(name) && named.has(`/${secret}`)) changedAll(namersOf(secret, [name]))
    },
    secretChanged(secretKey) {
      const [, secret = ''] = secretKey.split('/')
      changedAll(named.get(`/${secret}`))
    },
    usageOf(key) {
      const usage = counted.get(key) ?? count(credentials.get(key))
      counted.set(key, usage)
      return usage
    },
    missedBy(pod) {
      if (pod.isOver || pod.isEnding) return []
      const keys = pod.uses.flatMap(({ secret }) => [...namersOf(secret, [pod.namespace])])
      return [...new Set(keys)]
        .map((key) => credentials.get(key) as CredentialObject)
        .filter((it) => userOf(it, pod) !== undefined && isMissedBy(pod, it))
    },
    *used() {
      for (const key of credentials.keys()) if (this.usageOf(key).pods > 0) yield key
    },
  }

  // ---- What is told ----

  function remember(pod: PodFacts): void {
    pods.set(`${pod.namespace}/${pod.name}`, pod)
    for (const { secret } of pod.uses) {
      const places = users.get(secret) ?? new Map<string, Set<PodFacts>>()
      users.set(secret, places)
      addTo(places, pod.namespace, pod)
    }
    if (pod.owner) addTo(owned, ownerKeyOf(pod), pod)
    changedFor(pod)
  }

  function forget({ namespace, name }: Pick<PodFacts, 'namespace' | 'name'>): void {
    const pod = pods.get(`${namespace}/${name}`)
    if (pod === undefined) return
    pods.delete(`${namespace}/${name}`)
    for (const { secret } of pod.uses) {
      const places = users.get(secret)
      if (places === undefined) continue
      takeFrom(places, namespace, pod)
      if (places.size === 0) users.delete(secret)
    }
    if (pod.owner) takeFrom(owned, ownerKeyOf(pod), pod)
    changedFor(pod)
  }

  function changedFor({ namespace, uses }: PodFacts): void {
    for (const { secret } of uses) changedAll(namersOf(secret, [namespace]))
  }

  /** Pods may be taken to use one of them instead of another, where they have a Secret in common. */
  function rivalsOf(credential: CredentialObject): Iterable<string> {
    const { namespace } = credential.metadata
    const secret = secretOf(credential)
    return namersOf(secret, namespace === undefined ? (users.get(secret)?.keys() ?? []) : [namespace])
  }

  /** Keys of the credentials that a Secret of these namespaces may be of. */
  function* namersOf(secret: string, namespaces: Iterable<string>): Iterable<string> {
    yield* named.get(`/${secret}`) ?? []
    for (const namespace of namespaces) yield* named.get(`${namespace}/${secret}`) ?? []
  }

  function changedAll(keys: Iterable<string> = []): void {
    for (const key of keys) {
      counted.delete(key)
      surroundings.onChange?.(key)
    }
  }

  // ---- What is asked ----

  function count(credential: CredentialObject | undefined): Usage {
    if (credential === undefined || !users.has(secretOf(credential))) return NOBODY
    const tally = createTally(credential.kind === 'ClusterCredential')
    for (const pod of podsOf(credential)) {
      const by = userOf(credential, pod)
      if (by) tally.add(pod, surroundings.workloadOf(pod), by === 'hand', isMissedBy(pod, credential))
    }
    return tally.usage()
  }

  function* podsOf(credential: CredentialObject): Iterable<PodFacts> {
    const places = users.get(secretOf(credential))
    const { namespace } = credential.metadata
    if (namespace !== undefined) yield* places?.get(namespace) ?? []
    else for (const its of places?.values() ?? []) yield* its
  }

  /**
   * Who makes a pod that refers to the credential's Secret use it; nobody, where its record names others of that Secret. A tenant
   * may have hundreds of credentials with one Secret: the record is asked, which is short, and not each of them.
   */
  function userOf(
    credential: CredentialObject,
    { namespace, injected }: PodFacts,
  ): 'injector' | 'hand' | undefined {
    if (!isHere(credential, namespace)) return undefined
    const recorded = injected
      .map(({ kind, name }) =>
        credentials.get(kind === 'Credential' ? `${kind}/${namespace}/${name}` : `${kind}/${name}`),
      )
      .filter((it) => it !== undefined && secretOf(it) === secretOf(credential) && isHere(it, namespace))
    if (recorded.length === 0) return 'hand'
    return recorded.includes(credential) ? 'injector' : undefined
  }

  function isHere(credential: CredentialObject, namespace: string): boolean {
    return credential.kind === 'Credential' || surroundings.isOffered(credential, namespace)
  }

  function isMissedBy(pod: PodFacts, credential: CredentialObject): boolean {
    if (pod.isEnding) return false
    const secret = secretOf(credential)
    const copiedAt = surroundings.copiedAt(`${pod.namespace}/${secret}`)
    return pod.uses.some((use) => use.secret === secret && isStale(use, pod, credential, copiedAt))
  }
}

/** What a namespaced Secret is called there, where pods refer to it. */
function secretOf({ kind, metadata, spec }: CredentialObject): string {
  return kind === 'ClusterCredential' ? copyName(metadata.name) : spec.secretRef.name
}

function placeOf(credential: CredentialObject): string {
  return `${credential.metadata.namespace ?? ''}/${secretOf(credential)}`
}

function ownerKeyOf({ owner, namespace }: PodFacts): string {
  return `${owner?.kind}/${namespace}/${owner?.name}`
}

function isSameUse(a: CredentialObject, b: CredentialObject): boolean {
  const shape = ({ metadata, spec, status }: CredentialObject) =>
    JSON.stringify([
      metadata.uid,
      spec.secretRef.name,
      'namespaceSelector' in spec && spec.namespaceSelector,
      status?.revision,
      status?.lastRotated,
    ])
  return shape(a) === shape(b)
}

/** What matters of a pod here; the rest of it changes often while it starts. */
function shapeOf({ uid, owner, isOver, isEnding, createdAt, injected, uses }: PodFacts): unknown {
  return [uid, owner, isOver, isEnding, createdAt, injected, uses]
}

function addTo<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
  const known = sets.get(key)
  if (known) known.add(value)
  else sets.set(key, new Set([value]))
}

function takeFrom<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
  const known = sets.get(key)
  known?.delete(value)
  if (known?.size === 0) sets.delete(key)
}

// ---- Counting --------------------------------------------------------------------------------------------------------

function createTally(isOfCluster: boolean) {
  let [pods, byHand, workloads, stalePods] = [0, 0, 0, 0]
  /** By name: whether any of its pods refers by hand. */
  const names = new Map<string, boolean>()
  const stale = new Map<string, Workload>()

  return {
    add(pod: PodFacts, workload: Workload | undefined, isByHand: boolean, isMissed: boolean): void {
      const subject = workload ?? asSubject(pod)
      const name = `${isOfCluster ? `${pod.namespace}/` : ''}${subject.kind}/${subject.name}`
      pods++
      if (isByHand) byHand++
      if (workload && !names.has(name)) workloads++
      names.set(name, isByHand || names.get(name) === true)
      if (!isMissed) return
      stalePods++
      stale.set(name, subject)
    },
    usage: (): Usage => ({
      pods,
      byHand,
      workloads,
      names: firstOf(names.keys()).map((name) => (names.get(name) ? `${name} (by hand)` : name)),
      stale: {
        pods: stalePods,
        users: firstOf(stale.keys()).map((name) => ({ name, subject: stale.get(name) as Workload })),
      },
    }),
  }
}

function asSubject({ namespace, name, uid }: PodFacts): Workload {
  return { apiVersion: 'v1', kind: 'Pod', namespace, name, uid }
}

function firstOf(names: Iterable<string>): string[] {
  return [...names].sort().slice(0, MOST_NAMES)
}
