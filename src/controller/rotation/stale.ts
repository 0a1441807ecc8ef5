import { copyName } from '../../store/memory.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import { keyOf as credentialKeyOf, placeOf } from '../watched/credentials.ts'
import type { Watched } from '../watched/index.ts'
import type { Workload } from '../watched/owners.ts'
import type { PodFacts, SecretUse } from '../watched/pods.ts'
import type { StaleRotation, StaleWorkload } from './plan.ts'
import { wishIn } from './workload.ts'

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
  readonly watched: Pick<Watched, 'credential' | 'credentials' | 'workloadOf' | 'pods' | 'subscribe'>
  /** Something may be different with that workload. */
  readonly onChange: (workloadKey: string) => void
  readonly now?: () => number
}

/**
 * Pods that run with variables from before a rotation, by workload, as the watches have them. Pods without variables from Secrets
 * are not remembered, nor those that have no owner: nobody would make them again.
 */
export function watchStale({ watched, onChange, now = Date.now }: StaleParts): StaleWorkloads {
  /** By namespace and direct owner. */
  const pods = new Map<string, Map<string, Map<string, PodFacts>>>()
  /** By `NAMESPACE/SECRET`. */
  const credentials = new Map<string, Set<string>>()
  /** Of each credential: where its Secret is, and what would make a difference. */
  const seen = new Map<string, { readonly secret: string; readonly state: string }>()

  for (const credential of watched.credentials()) learn(credentialKeyOf(credential))
  for (const pod of watched.pods()) put(pod)
  watched.subscribe({
    pod(pod, before) {
      if (before !== undefined) drop(before)
      if (pod !== undefined) put(pod)
      tellOf(pod ?? before)
    },
    credential(key) {
      const before = seen.get(key)
      learn(key)
      if (before?.state !== seen.get(key)?.state) tellOfUsers(key)
    },
  })

  return {
    get(workloadKey) {
      const [, namespace = ''] = workloadKey.split('/')
      const its = [...groupsOf(namespace)].filter((group) => {
        const workload = workloadOf(group)
        return workload !== undefined && keyOf(workload) === workloadKey
      })
      return staleOf(its.flatMap((group) => [...group.values()]))
    },
    *all() {
      for (const workloadKey of new Set(workloadKeys())) {
        const found = this.get(workloadKey)
        if (found !== undefined) yield found
      }
    },
    *restartedWithin(milliseconds) {
      for (const group of allGroups())
        for (const pod of group.values())
          if (pod.restart.isRecorded && pod.createdAt > now() - milliseconds) {
            const workload = workloadOf(group)
            if (workload !== undefined) yield workload
            break
          }
    },
  }

  // ---- Pods ----

  function put(pod: PodFacts): void {
    if (pod.owner === undefined || !pod.uses.some(({ as }) => as === 'variables')) return
    const owners = pods.get(pod.namespace) ?? new Map<string, Map<string, PodFacts>>()
    const group = owners.get(pod.owner.uid) ?? new Map<string, PodFacts>()
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

  function groupsOf(namespace: string): Iterable<ReadonlyMap<string, PodFacts>> {
    return pods.get(namespace)?.values() ?? []
  }

  function* allGroups(): Iterable<ReadonlyMap<string, PodFacts>> {
    for (const owners of pods.values()) yield* owners.values()
  }

  /** Asked anew each time: the owner of a ReplicaSet may be heard of later than its pods. */
  function workloadOf(group: ReadonlyMap<string, PodFacts>): Workload | undefined {
    const [pod] = group.values()
    return pod && watched.workloadOf(pod)
  }

  function* workloadKeys(): Iterable<string> {
    for (const group of allGroups()) {
      const workload = workloadOf(group)
      if (workload !== undefined) yield keyOf(workload)
    }
  }

  function staleOf(its: readonly PodFacts[]): StaleWorkload | undefined {
    const wishes = new Set<boolean | undefined>()
    const rotations = new Map<string, StaleRotation>()
    for (const pod of its) {
      const missed = missedBy(pod)
      if (missed.length > 0) wishes.add(wishIn(pod.restart.wish))
      for (const rotation of missed) rotations.set(rotation.credential, rotation)
    }
    const workload = its[0] && watched.workloadOf(its[0])
    if (workload === undefined || rotations.size === 0) return undefined
    return { workload, wishes, rotations: [...rotations.values()] }
  }

  function missedBy(pod: PodFacts): StaleRotation[] {
    if (pod.isOver || pod.isEnding) return []
    return pod.uses.flatMap((use) => {
      if (use.as !== 'variables' || use.since === undefined) return []
      return credentialsOf(pod, use).flatMap((credential) => missed(pod, use.since as number, credential))
    })
  }

  function missed(pod: PodFacts, since: number, credential: CredentialObject): StaleRotation[] {
    const { kind, metadata, spec, status } = credential
    const { revision, lastRotated } = status ?? {}
    if (revision === undefined || lastRotated === undefined) return []
    const rotatedAt = Date.parse(lastRotated)
    const hasContent =
      kind === 'Credential'
        ? since > rotatedAt || recordOf(pod, credential)?.revision === revision
        : since > rotatedAt + COPY_MARGIN_MS
    if (hasContent) return []
    const rotation = {
      credential: `${kind}/${metadata.name}`,
      revision,
      at: lastRotated,
      isAutomatic: spec.rotation?.restart === 'Automatic',
    }
    return [rotation]
  }

  // ---- Credentials ----

  /** Of several with one Secret those that the injector has recorded, or all. */
  function credentialsOf(pod: PodFacts, { secret }: SecretUse): CredentialObject[] {
    const copied = secret.startsWith(COPY_PREFIX) ? secret.slice(COPY_PREFIX.length) : undefined
    const keys = [...(credentials.get(`${pod.namespace}/${secret}`) ?? [])]
    if (copied !== undefined) keys.push(`ClusterCredential/${copied}`)
    const all = keys.flatMap((key) => watched.credential(key) ?? [])
    const recorded = all.filter((credential) => recordOf(pod, credential) !== undefined)
    return recorded.length > 0 ? recorded : all
  }

  function recordOf({ injected }: PodFacts, { kind, metadata: { name } }: CredentialObject) {
    return injected.find((record) => record.kind === kind && record.name === name)
  }

  function learn(key: string): void {
    const before = seen.get(key)
    if (before !== undefined) {
      const its = credentials.get(before.secret)
      its?.delete(key)
      if (its?.size === 0) credentials.delete(before.secret)
    }
    const credential = watched.credential(key)
    if (credential === undefined) return void seen.delete(key)
    const { kind, metadata, spec, status } = credential
    const secret = `${metadata.namespace}/${spec.secretRef.name}`
    if (kind === 'Credential') credentials.set(secret, (credentials.get(secret) ?? new Set()).add(key))
    const state = [secret, status?.revision, status?.lastRotated, spec.rotation?.restart].join()
    seen.set(key, { secret, state })
  }

  // ---- What is told ----

  function tellOf(pod: PodFacts | undefined): void {
    const workload = pod?.owner && watched.workloadOf(pod)
    if (workload) onChange(keyOf(workload))
  }

  function tellOfUsers(key: string): void {
    const { kind, place } = placeOf(key)
    const groups = kind === 'Credential' ? groupsOf(place.split('/')[0] as string) : allGroups()
    for (const group of groups) {
      const uses = [...group.values()].flatMap((pod) => pod.uses.map((use) => [pod, use] as const))
      const isUser = uses.some(([pod, use]) =>
        credentialsOf(pod, use).some((credential) => credentialKeyOf(credential) === key),
      )
      const workload = isUser ? workloadOf(group) : undefined
      if (workload !== undefined) onChange(keyOf(workload))
    }
  }
}

const COPY_PREFIX = copyName('')

/**
 * A pod that starts between the change of a ClusterCredential's Secret and that of its copy has the old content, whatever its
 * record says. Rather one restart too many: who starts later than this has surely met the new copy.
 */
const COPY_MARGIN_MS = 10_000
