import { copyName } from '../../store/memory.ts'
import { knowsPresent } from '../usage/freshness.ts'
import { type CredentialObject, keyOf as credentialKeyOf, placeOf } from '../watched/credentials.ts'
import type { Watched } from '../watched/index.ts'
import type { OwnerReference, Workload } from '../watched/owners.ts'
import type { PodFacts } from '../watched/pods.ts'
import type { StaleRotation, StaleWorkload } from './plan.ts'
import { isRestartable, wishIn } from './workload.ts'

/** What there may be to restart. Keys of workloads are `Deployment/NAMESPACE/NAME`. */
export interface StaleWorkloads {
  /** Undefined when none of its pods is stale. */
  get(workloadKey: string): StaleWorkload | undefined
  all(): Iterable<StaleWorkload>
  /** Those with pods of a template that was changed for a restart, and that are no older than so many milliseconds. */
  restartedWithin(milliseconds: number): Iterable<Workload>
}

export function keyOf({ kind, namespace, name }: Workload): string {
  return `${kind}/${namespace}/${name}`
}

interface StaleParts {
  readonly watched: Pick<
    Watched,
    'credential' | 'credentials' | 'copiedAt' | 'workloadOf' | 'pods' | 'subscribe'
  >
  /** The credentials of whose last rotation the pod's variables know nothing. */
  readonly missedBy: (pod: PodFacts) => readonly CredentialObject[]
  /** Something may be different with that workload, which is of a kind that can be restarted. */
  readonly onChange: (workloadKey: string) => void
  readonly now?: () => number
}

type OwnedPod = PodFacts & { readonly owner: OwnerReference }

/** The pods of one owner; never empty. */
type Group = ReadonlyMap<string, OwnedPod>

/**
 * Pods to be restarted by workload, kept up as the watches bring them: those that are stale, and those with files of a credential
 * that asks for restarts. Files are renewed in place, but many programs read them once. Pods without either are not remembered, nor
 * those that have no owner: nobody would make them again.
 */
export function watchStale({ watched, missedBy, onChange, now = Date.now }: StaleParts): StaleWorkloads {
  /** By namespace, and there by uid of the direct owner. */
  const pods = new Map<string, Map<string, Map<string, OwnedPod>>>()
  /** By uid of the direct owner: the workload that was told of last, or would have been. */
  const told = new Map<string, string>()
  const states = new Map<string, State>()
  /** Keys of credentials of files that ask for restarts, by their Secret's place: `team-a/ssh-key`, `/credential-ca`. */
  const ofFiles = new Map<string, Set<string>>()

  for (const credential of watched.credentials()) learn(credentialKeyOf(credential))
  for (const pod of watched.pods()) put(pod)
  for (const group of allGroups()) keep(firstOf(group))
  watched.subscribe({
    pod(pod, before) {
      if (before !== undefined) drop(before)
      if (pod !== undefined) put(pod)
      const its = (pod ?? before) as PodFacts
      if (isOfInterest(its)) tell(its)
    },
    credential(key) {
      if (learn(key)) tellOf(key)
    },
    secret(key) {
      const [namespace = '', name = ''] = key.split('/')
      if (name.startsWith(COPY)) tellOf(`ClusterCredential/${name.slice(COPY.length)}`, namespace)
    },
    owner(key) {
      const [kind, namespace = '', name] = key.split('/')
      for (const group of groupsOf(namespace)) {
        const pod = firstOf(group)
        if (pod.owner.kind === kind && pod.owner.name === name) tell(pod)
      }
    },
  })

  return {
    get(workloadKey) {
      const [, namespace = ''] = workloadKey.split('/')
      const its = [...groupsOf(namespace)].filter((group) => keyOfGroup(group) === workloadKey)
      return staleOf(its.flatMap((group) => [...group.values()]))
    },
    *all() {
      const byWorkload = new Map<string, PodFacts[]>()
      for (const group of allGroups()) {
        const key = keyOfGroup(group)
        if (key !== undefined) byWorkload.set(key, [...(byWorkload.get(key) ?? []), ...group.values()])
      }
      for (const its of byWorkload.values()) {
        const found = staleOf(its)
        if (found !== undefined) yield found
      }
    },
    *restartedWithin(milliseconds) {
      for (const group of allGroups()) {
        const isYoung = ({ restart, createdAt }: PodFacts) =>
          restart.isRecorded && createdAt > now() - milliseconds
        const workload = [...group.values()].some(isYoung) && workloadOf(group)
        if (workload) yield workload
      }
    },
  }

  // ---- Pods ----

  function put(pod: PodFacts): void {
    if (!isOfInterest(pod)) return
    const owners = pods.get(pod.namespace) ?? new Map<string, Map<string, OwnedPod>>()
    const group = owners.get(pod.owner.uid) ?? new Map<string, OwnedPod>()
    pods.set(pod.namespace, owners.set(pod.owner.uid, group.set(pod.name, pod)))
  }

  function drop({ namespace, owner, name }: PodFacts): void {
    const owners = pods.get(namespace)
    const group = owner && owners?.get(owner.uid)
    if (!owners || !group) return
    group.delete(name)
    if (group.size === 0) owners.delete(owner.uid)
    if (owners.size === 0) pods.delete(namespace)
  }

  function groupsOf(namespace: string): Iterable<Group> {
    return pods.get(namespace)?.values() ?? []
  }

  function* allGroups(): Iterable<Group> {
    for (const owners of pods.values()) yield* owners.values()
  }

  /** Asked anew each time: the owner of a ReplicaSet may be heard of later than its pods. */
  function workloadOf(group: Group): Workload | undefined {
    return watched.workloadOf(firstOf(group))
  }

  function keyOfGroup(group: Group): string | undefined {
    const workload = workloadOf(group)
    return workload && keyOf(workload)
  }

  function staleOf(its: readonly PodFacts[]): StaleWorkload | undefined {
    const wishes = new Set<boolean | undefined>()
    const rotations = new Map<string, StaleRotation>()
    for (const pod of its) {
      const missed = allMissedBy(pod).flatMap(rotationOf)
      if (missed.length > 0) wishes.add(wishIn(pod.restart.wish))
      for (const rotation of missed) rotations.set(rotation.credential, rotation)
    }
    const workload = its[0] && watched.workloadOf(its[0])
    if (workload === undefined || rotations.size === 0) return undefined
    return { workload, wishes, rotations: [...rotations.values()] }
  }

  function allMissedBy(pod: PodFacts): readonly CredentialObject[] {
    if (pod.isOver || pod.isEnding) return []
    const files = ofFiles.size === 0 ? [] : pod.uses.filter(({ as }) => as === 'files')
    const keys = files.flatMap(({ secret }) => [
      ...(ofFiles.get(`${pod.namespace}/${secret}`) ?? []),
      ...(ofFiles.get(`/${secret}`) ?? []),
    ])
    const older = keys.flatMap((key) => watched.credential(key) ?? []).filter((it) => isOlder(pod, it))
    return [...missedBy(pod), ...older]
  }

  /** What is older than the content of its files. */
  function isOlder(pod: PodFacts, credential: CredentialObject): boolean {
    const { lastRotated } = credential.status ?? {}
    if (lastRotated === undefined || knowsPresent(pod, credential)) return false
    const copy = `${pod.namespace}/${copyName(credential.metadata.name)}`
    const copiedAt = credential.kind === 'ClusterCredential' ? (watched.copiedAt(copy) ?? 0) : 0
    return pod.createdAt <= Math.max(copiedAt, Date.parse(lastRotated))
  }

  // ---- Credentials ----

  /** Whether it makes a difference. */
  function learn(key: string): boolean {
    const credential = watched.credential(key)
    const now = credential && stateOf(credential)
    if (now?.text === states.get(key)?.text) return false
    const before = states.get(key)
    if (before !== undefined) ofFiles.get(before.place)?.delete(key)
    if (now === undefined) return states.delete(key)
    states.set(key, now)
    if (now.isOfFiles) ofFiles.set(now.place, (ofFiles.get(now.place) ?? new Set()).add(key))
    return true
  }

  // ---- What is told ----

  /** Of the workloads that have missed its last rotation. */
  function tellOf(key: string, namespace = namespaceOf(key)): void {
    for (const group of namespace === undefined ? allGroups() : groupsOf(namespace)) {
      const isMissed = (pod: PodFacts) => allMissedBy(pod).some((it) => credentialKeyOf(it) === key)
      if ([...group.values()].some(isMissed)) tell(firstOf(group))
    }
  }

  /**
   * Of a pod's workload, and of the one that was told of before: where a Deployment is deleted, its ReplicaSets may go before their
   * pods do, and then nothing leads from these to the Deployment any more. Jobs and others are never restarted, and may be very many.
   */
  function tell(pod: OwnedPod): void {
    for (const key of new Set([told.get(pod.owner.uid), keep(pod)])) if (key !== undefined) onChange(key)
  }

  /** Remembers what is told of the pod's owner, as long as there are pods of it. */
  function keep(pod: OwnedPod): string | undefined {
    const { uid } = pod.owner
    const workload = watched.workloadOf(pod)
    const key = workload && isRestartable(workload) ? keyOf(workload) : undefined
    if (key !== undefined && pods.get(pod.namespace)?.has(uid)) told.set(uid, key)
    else told.delete(uid)
    return key
  }
}

function isOfInterest(pod: PodFacts): pod is OwnedPod {
  return pod.owner !== undefined && pod.uses.some(({ as }) => as !== 'login')
}

function firstOf(group: Group): OwnedPod {
  return group.values().next().value as OwnedPod
}

const COPY = copyName('')

/** Of a credential what would make a difference. */
interface State {
  readonly text: string
  /** Where its Secret is, as pods refer to it. */
  readonly place: string
  /** It is of files, and asks for restarts. */
  readonly isOfFiles: boolean
}

function stateOf({ kind, metadata, spec, status }: CredentialObject): State {
  const { revision, lastRotated } = status ?? {}
  const place =
    kind === 'Credential' ? `${metadata.namespace}/${spec.secretRef.name}` : `/${copyName(metadata.name)}`
  const isAutomatic = spec.rotation?.restart === 'Automatic'
  return {
    text: [spec.type, place, isAutomatic, revision, lastRotated].join(),
    place,
    isOfFiles: spec.type === 'file' && isAutomatic,
  }
}

function rotationOf({ kind, metadata, spec, status = {} }: CredentialObject): StaleRotation[] {
  const { revision, lastRotated: at } = status
  if (revision === undefined || at === undefined) return []
  const isAutomatic = spec.rotation?.restart === 'Automatic'
  return [{ credential: `${kind}/${metadata.name}`, revision, at, isAutomatic }]
}

/** Undefined for what belongs to the cluster. */
function namespaceOf(key: string): string | undefined {
  const { kind, place } = placeOf(key)
  return kind === 'Credential' ? place.split('/')[0] : undefined
}
