/** Who has made a pod in the end: of a ReplicaSet its Deployment, of a Job its CronJob. */
import type { KubeObject } from '../../kube/client.ts'

/** meta/v1 OwnerReference, shortened. */
export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
}

/** A workload of a namespace. */
export interface Workload {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface OwnedObject extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly ownerReferences?: readonly OwnerReference[] }
}

/** The kinds in between, whose owners are watched. */
export const BETWEEN = {
  ReplicaSet: '/apis/apps/v1/replicasets',
  Job: '/apis/batch/v1/jobs',
} as const
export type BetweenKind = keyof typeof BETWEEN

/** Longer than the kind or name of any object. The API server takes references of any length, and a status does not. */
const MOST_KIND_CHARACTERS = 63
const MOST_NAME_CHARACTERS = 253

/** What is remembered of an owned object: whose it is, if anybody's. */
export function ownerIn({ metadata }: OwnedObject): OwnerReference | undefined {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
  if (owner === undefined) return undefined
  const isReal = owner.kind.length <= MOST_KIND_CHARACTERS && owner.name.length <= MOST_NAME_CHARACTERS
  return isReal ? owner : undefined
}

/** Undefined for a bare pod. `ownerOf` knows the owners of ReplicaSets and Jobs. */
export function workloadOf(
  { namespace, owner }: { readonly namespace: string; readonly owner: OwnerReference | undefined },
  ownerOf: (kind: BetweenKind, key: string) => OwnerReference | undefined,
): Workload | undefined {
  if (owner === undefined) return undefined
  const isBetween = Object.hasOwn(BETWEEN, owner.kind)
  const above = isBetween ? ownerOf(owner.kind as BetweenKind, `${namespace}/${owner.name}`) : undefined
  const { apiVersion, kind, name, uid } = above ?? owner
  return { apiVersion, kind, namespace, name, uid }
}
