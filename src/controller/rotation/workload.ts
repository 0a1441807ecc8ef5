/** Workloads that can be restarted by a change of their pod template, as far as that is concerned. */
import { RESTART_ON_ROTATION, RESTART_PAUSED, RESTARTED_FOR } from '../../annotations.ts'
import type { KubeObject } from '../../kube/client.ts'
import type { Workload } from '../watched/owners.ts'

const PLURALS = { Deployment: 'deployments', StatefulSet: 'statefulsets', DaemonSet: 'daemonsets' } as const
type RestartableKind = keyof typeof PLURALS

/** Bare pods, Jobs and all others are never restarted: nobody would make their work again. */
export function isRestartable({ apiVersion, kind }: Pick<Workload, 'apiVersion' | 'kind'>): boolean {
  return apiVersion === 'apps/v1' && Object.hasOwn(PLURALS, kind)
}

/** The path of a restartable workload in the API. */
export function pathOf({ kind, namespace, name }: Workload): string {
  return `/apis/apps/v1/namespaces/${namespace}/${PLURALS[kind as RestartableKind]}/${name}`
}

/** The name under which the API server remembers who wrote the record. */
export const FIELD_MANAGER = 'credential-injector-controller'

/** Deployment, StatefulSet or DaemonSet of apps/v1, shortened to what is read here. */
export interface StoredWorkload extends KubeObject {
  readonly metadata: KubeObject['metadata'] & {
    readonly managedFields?: readonly { readonly manager?: string; readonly time?: string }[]
  }
  readonly spec: {
    readonly replicas?: number
    readonly paused?: boolean
    readonly updateStrategy?: {
      readonly type?: string
      readonly rollingUpdate?: { readonly partition?: number }
    }
    readonly selector: Selector
    readonly template: { readonly metadata?: { readonly annotations?: Annotations } }
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly replicas?: number
    readonly updatedReplicas?: number
    readonly readyReplicas?: number
    readonly availableReplicas?: number
    readonly currentRevision?: string
    readonly updateRevision?: string
    readonly desiredNumberScheduled?: number
    readonly updatedNumberScheduled?: number
    readonly numberAvailable?: number
  }
}

type Annotations = Readonly<Record<string, string>>

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly {
    readonly key: string
    readonly operator: string
    readonly values?: readonly string[]
  }[]
}

export type Hold = 'RestartPaused' | 'RolloutPaused' | 'RestartsOnDelete'

export interface WorkloadState {
  /** What the template says about restarts; undefined leaves it to the credentials. */
  readonly wish: boolean | undefined
  /** `credentials.run.ai/restarted-for` of the template. */
  readonly record: string
  /** When the controller wrote the record, by the API server's own: anybody may write one. In milliseconds since 1970. */
  readonly restartedAt: number | undefined
  /** Why it cannot be restarted at present. */
  readonly hold: Hold | undefined
  /** Its pods are those of the present template, and available. */
  readonly isRolledOut: boolean
}

export function stateOf(kind: string, object: StoredWorkload): WorkloadState {
  const { annotations = {} } = object.spec.template.metadata ?? {}
  return {
    wish: wishIn(annotations[RESTART_ON_ROTATION]),
    record: annotations[RESTARTED_FOR] ?? '',
    restartedAt: restartedAt(object),
    hold: holdOf(object),
    isRolledOut: isRolledOut(kind as RestartableKind, object),
  }
}

/** What is neither is no wish: the webhook refuses it where it is asked. */
export function wishIn(text: string | undefined): boolean | undefined {
  if (text === 'true') return true
  return text === 'false' ? false : undefined
}

function restartedAt({ metadata: { managedFields = [] } }: StoredWorkload): number | undefined {
  const its = managedFields.filter(({ manager }) => manager === FIELD_MANAGER)
  const times = its.map(({ time = '' }) => Date.parse(time)).filter((time) => !Number.isNaN(time))
  return times.length === 0 ? undefined : Math.max(...times)
}

function holdOf({ metadata, spec }: StoredWorkload): Hold | undefined {
  if (metadata.annotations?.[RESTART_PAUSED] === 'true') return 'RestartPaused'
  if (spec.paused === true) return 'RolloutPaused'
  return spec.updateStrategy?.type === 'OnDelete' ? 'RestartsOnDelete' : undefined
}

// ---- Rollouts --------------------------------------------------------------------------------------------------------

/** By the rules of `kubectl rollout status`. */
function isRolledOut(kind: RestartableKind, object: StoredWorkload): boolean {
  const { metadata, status = {} } = object
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false
  return ROLLED_OUT[kind](object)
}

const ROLLED_OUT: Readonly<Record<RestartableKind, (object: StoredWorkload) => boolean>> = {
  Deployment({ spec: { replicas: wanted = 1 }, status = {} }) {
    const { updatedReplicas: updated = 0, replicas = 0, availableReplicas: available = 0 } = status
    return updated >= wanted && replicas <= updated && available >= updated
  },
  StatefulSet({ spec: { replicas: wanted = 1, updateStrategy }, status = {} }) {
    const { updatedReplicas: updated = 0, readyReplicas: ready = 0, currentRevision, updateRevision } = status
    const partition = updateStrategy?.rollingUpdate?.partition ?? 0
    if (ready < wanted) return false
    return partition > 0 ? updated >= wanted - partition : currentRevision === updateRevision
  },
  DaemonSet({ status = {} }) {
    const { desiredNumberScheduled: wanted = 0, updatedNumberScheduled: updated = 0 } = status
    return updated >= wanted && (status.numberAvailable ?? 0) >= wanted
  },
}

// ---- Earlier templates -----------------------------------------------------------------------------------------------

/** ReplicaSets of a Deployment, or ControllerRevisions of the others: each has a template that the workload had. */
export interface StoredTemplates {
  readonly items: readonly (KubeObject & {
    readonly metadata: { readonly ownerReferences?: readonly { readonly uid: string }[] }
    readonly spec?: { readonly template?: StoredWorkload['spec']['template'] }
    readonly data?: { readonly spec?: { readonly template?: StoredWorkload['spec']['template'] } }
  })[]
}

export function templatesPathOf({ kind, namespace }: Workload, { spec }: StoredWorkload): string {
  const resource = kind === 'Deployment' ? 'replicasets' : 'controllerrevisions'
  const selector = encodeURIComponent(selectorText(spec.selector))
  return `/apis/apps/v1/namespaces/${namespace}/${resource}?labelSelector=${selector}`
}

/** What was recorded in the templates that the workload of that uid had. */
export function recordsIn({ items }: StoredTemplates, uid: string | undefined): string[] {
  return items.flatMap(({ metadata, spec, data }) => {
    const isIts = metadata.ownerReferences?.some((owner) => owner.uid === uid) === true
    const record = (spec ?? data?.spec)?.template?.metadata?.annotations?.[RESTARTED_FOR]
    return isIts && record !== undefined ? [record] : []
  })
}

const OPERATORS: Readonly<Record<string, (key: string, values: string) => string>> = {
  In: (key, values) => `${key} in (${values})`,
  NotIn: (key, values) => `${key} notin (${values})`,
  Exists: (key) => key,
  DoesNotExist: (key) => `!${key}`,
}

function selectorText({ matchLabels = {}, matchExpressions = [] }: Selector): string {
  return [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values = [] }) => OPERATORS[operator]?.(key, values.join(','))),
  ].join(',')
}
