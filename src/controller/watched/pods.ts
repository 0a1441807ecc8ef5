/**
 * What is remembered of a pod: which Secrets it refers to, by itself or because the injector put them there, and since when its
 * variables are as they are. Of the Secrets there are only names, of the rest of the pod nothing.
 */
import { INJECTED, RESTART_ON_ROTATION, RESTARTED_FOR } from '../../annotations.ts'
import type { KubeObject } from '../../kube/client.ts'
import { type OwnerReference, ownerIn } from './owners.ts'

export interface PodFacts {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  /** The controlling owner; undefined for a bare pod. */
  readonly owner: OwnerReference | undefined
  /** It has ended: nothing of it runs any more. */
  readonly isOver: boolean
  /** It is being deleted. */
  readonly isEnding: boolean
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** What the injector's record says; anybody could have written it. */
  readonly injected: readonly InjectedRecord[]
  /** What its template said about restarts, and whether the template had been changed for one. */
  readonly restart: { readonly wish: string | undefined; readonly isRecorded: boolean }
  /** One entry for each Secret and way, ordered as they were found. */
  readonly uses: readonly SecretUse[]
}

export interface InjectedRecord {
  readonly kind: string
  readonly name: string
  /** Undefined where it was not known when the pod was made. */
  readonly revision: string | undefined
}

export interface SecretUse {
  /** Name of a Secret of the pod's namespace. */
  readonly secret: string
  readonly as: 'variables' | 'files' | 'login'
  /**
   * Of variables: when the first of the containers that run with them was started, in milliseconds since 1970; undefined while
   * none of them runs, so that they will start with what the Secret holds then.
   */
  readonly since: number | undefined
}

/** core/v1 Pod, shortened to what is read here. */
export interface StoredPod extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly ownerReferences?: readonly OwnerReference[] }
  readonly spec?: {
    readonly containers?: readonly StoredContainer[]
    readonly initContainers?: readonly StoredContainer[]
    readonly ephemeralContainers?: readonly StoredContainer[]
    readonly volumes?: readonly StoredVolume[]
    readonly imagePullSecrets?: readonly Named[]
  }
  readonly status?: {
    readonly phase?: string
    readonly containerStatuses?: readonly StoredContainerStatus[]
    readonly initContainerStatuses?: readonly StoredContainerStatus[]
    readonly ephemeralContainerStatuses?: readonly StoredContainerStatus[]
  }
}

interface StoredContainer {
  readonly name: string
  readonly env?: readonly { readonly valueFrom?: { readonly secretKeyRef?: Named } }[]
  readonly envFrom?: readonly { readonly secretRef?: Named }[]
}

/** Of all kinds of volumes: a Secret is known by one of few fields, whatever the kind. */
interface StoredVolume {
  readonly name?: string
  readonly [kind: string]: string | StoredVolumeSource | null | undefined
}

interface StoredVolumeSource {
  readonly secretName?: string
  readonly secretRef?: Named
  readonly nodePublishSecretRef?: Named
  readonly sources?: readonly { readonly secret?: Named }[]
}

interface StoredContainerStatus {
  readonly name: string
  readonly state?: { readonly running?: { readonly startedAt?: string } }
}

interface Named {
  readonly name?: string
}

export function factsOf({ metadata, spec = {}, status = {} }: StoredPod): PodFacts {
  const { name, namespace = '', uid = '', labels = NOTHING, annotations = NOTHING } = metadata
  return {
    namespace,
    name,
    uid,
    labels,
    owner: ownerIn({ metadata }),
    isOver: status.phase === 'Succeeded' || status.phase === 'Failed',
    isEnding: metadata.deletionTimestamp !== undefined,
    createdAt: Date.parse(metadata.creationTimestamp ?? ''),
    injected: recordsIn(annotations[INJECTED] ?? ''),
    restart: {
      wish: annotations[RESTART_ON_ROTATION],
      isRecorded: annotations[RESTARTED_FOR] !== undefined,
    },
    uses: usesOf(spec, startsOf(status)),
  }
}

const NOTHING: Readonly<Record<string, string>> = Object.freeze({})

/** More than any pod has: whoever writes the annotation by hand could fill the memory, and each count goes through all. */
const MOST_RECORDS = 200

const RECORD = /^(Credential|ClusterCredential)\/([^@]+)(?:@(.+))?$/

/** `Credential/wandb-credentials@1f2e…,ClusterCredential/dockerhub`; what is not understood is left out. */
function recordsIn(annotation: string): InjectedRecord[] {
  return annotation.split(',', MOST_RECORDS).flatMap((item) => {
    const [, kind, name, revision] = RECORD.exec(item) ?? []
    return kind === undefined || name === undefined ? [] : [{ kind, name, revision }]
  })
}

/** When each running container was started. */
function startsOf(status: NonNullable<StoredPod['status']>): ReadonlyMap<string, number> {
  const all = [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ]
  return new Map(
    all.flatMap(({ name, state }) => {
      const startedAt = state?.running?.startedAt
      return startedAt === undefined ? [] : [[name, Date.parse(startedAt)] as const]
    }),
  )
}

function usesOf(
  {
    containers = [],
    initContainers = [],
    ephemeralContainers = [],
    volumes = [],
    imagePullSecrets = [],
  }: NonNullable<StoredPod['spec']>,
  starts: ReadonlyMap<string, number>,
): SecretUse[] {
  const uses = new Map<string, SecretUse>()
  const add = (secret: string | undefined, as: SecretUse['as'], start?: number) => {
    if (!secret) return
    const key = `${as}/${secret}`
    const since = earlier(uses.get(key)?.since, start)
    uses.set(key, { secret, as, since })
  }
  for (const { name, env = [], envFrom = [] } of [...initContainers, ...containers, ...ephemeralContainers]) {
    for (const { secretRef } of envFrom) add(secretRef?.name, 'variables', starts.get(name))
    for (const { valueFrom } of env) add(valueFrom?.secretKeyRef?.name, 'variables', starts.get(name))
  }
  for (const source of volumes.flatMap((volume) => Object.values(volume))) {
    if (typeof source !== 'object' || source === null) continue
    add(source.secretName, 'files')
    add(source.secretRef?.name, 'files')
    add(source.nodePublishSecretRef?.name, 'files')
    for (const { secret } of source.sources ?? []) add(secret?.name, 'files')
  }
  for (const { name } of imagePullSecrets) add(name, 'login')
  return [...uses.values()]
}

function earlier(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}
