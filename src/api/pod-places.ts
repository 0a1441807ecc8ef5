/** Where pods are in Kubernetes manifests. */
import { INJECT } from '../annotations.ts'

type Step = string | number

/** A pod, or the template that a workload makes pods from, inside a document. */
export interface PodPlace {
  kind: string
  /** `metadata.name`, or `metadata.generateName` with an asterisk; empty if there is neither. */
  name: string
  namespace: string | undefined
  /** Way from the document to the object, not empty for the items of a List. */
  objectPath: readonly Step[]
  /** Way from the object to the pod template; empty for a Pod. */
  templatePath: readonly string[]
  /** What has the pod's `metadata` and `spec`; its shape has not been looked at. */
  pod: unknown
}

/** The pod of one object that is no List; undefined if it has none. */
export function podOf(object: unknown): PodPlace | undefined {
  return isObject(object) ? placeOf(object, []) : undefined
}

export interface PodsFound {
  pods: PodPlace[]
  /** How many objects have no pod that is known. */
  others: number
  /** Objects that name credentials where they do not reach a pod. */
  unreached: Unreached[]
}

type Unreached = Pick<PodPlace, 'kind' | 'name' | 'objectPath'> & {
  /** Where the annotation belongs instead; undefined for an object of which no pod is known. */
  template?: readonly string[]
}

/** The pods of a document, in order. The items of a List are objects of their own. */
export function podsIn(value: unknown): PodsFound {
  const found: PodsFound = { pods: [], others: 0, unreached: [] }
  for (const [object, objectPath] of objectsIn(value)) {
    const pod = placeOf(object, objectPath)
    if (pod) {
      found.pods.push(pod)
      if (isMisplaced(object, pod))
        found.unreached.push({ ...identityOf(object), objectPath, template: pod.templatePath })
      continue
    }
    found.others++
    if (namesCredentials(object)) found.unreached.push({ ...identityOf(object), objectPath })
  }
  return found
}

/** The annotation stands on a workload, and not on its pod template. */
function isMisplaced({ metadata }: Fields, { templatePath, pod }: PodPlace): boolean {
  const has = (value: unknown) =>
    isObject(value) && isObject(value.annotations) && INJECT in value.annotations
  return templatePath.length > 0 && has(metadata) && !(isObject(pod) && has(pod.metadata))
}

/** Whether the annotation stands anywhere in it; so it does in the pod templates of a PyTorchJob. */
function namesCredentials(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { annotations } = value as { annotations?: unknown }
  if (isObject(annotations) && INJECT in annotations) return true
  return Object.values(value).some((child) => namesCredentials(child))
}

function objectsIn(value: unknown, path: readonly Step[] = []): [Fields, readonly Step[]][] {
  if (!isObject(value)) return []
  if (!isList(value)) return [[value, path]]
  return value.items.flatMap((item, index) => objectsIn(asItemOf(value, item), [...path, 'items', index]))
}

function placeOf(object: Fields, objectPath: readonly Step[]): PodPlace | undefined {
  const templatePath = templatePathOf(object)
  const pod = templatePath && at(object, templatePath)
  if (!templatePath || pod === undefined || pod === null) return undefined
  return { ...identityOf(object), objectPath, templatePath, pod }
}

/** RFC 6901 pointer to a pod in its document. */
export function pointerTo({ objectPath, templatePath }: PodPlace): string {
  return [...objectPath, ...templatePath]
    .map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
}

/** A field of the pod as a field of its object: `spec.containers[0]` as `spec.template.spec.containers[0]`. */
export function fieldIn({ templatePath }: PodPlace, field: string): string {
  return [...templatePath, field].join('.')
}

const TEMPLATE = ['spec', 'template']

const TEMPLATE_PATHS: Readonly<Record<string, readonly string[]>> = {
  'v1/Pod': [],
  'v1/PodTemplate': ['template'],
  'v1/ReplicationController': TEMPLATE,
  'apps/Deployment': TEMPLATE,
  'apps/StatefulSet': TEMPLATE,
  'apps/DaemonSet': TEMPLATE,
  'apps/ReplicaSet': TEMPLATE,
  'batch/Job': TEMPLATE,
  'batch/CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
}

/** Workloads of other groups, such as Argo's Rollout, are known by their containers. */
function templatePathOf(object: Fields): readonly string[] | undefined {
  const { apiVersion, kind } = object
  const group = String(apiVersion).replace(/\/[^/]*$/, '')
  return (
    TEMPLATE_PATHS[`${group}/${kind}`] ??
    (Array.isArray(at(object, [...TEMPLATE, 'spec', 'containers'])) ? TEMPLATE : undefined)
  )
}

function identityOf({ kind, metadata }: Fields): Pick<PodPlace, 'kind' | 'name' | 'namespace'> {
  const { name, generateName, namespace } = isObject(metadata) ? metadata : {}
  return {
    kind: String(kind),
    name: isText(name) ? name : isText(generateName) ? `${generateName}*` : '',
    namespace: isText(namespace) ? namespace : undefined,
  }
}

type Fields = Record<string, unknown>

function isList(value: Fields): value is Fields & { kind: string; items: unknown[] } {
  return isText(value.kind) && value.kind.endsWith('List') && Array.isArray(value.items)
}

/** The items of a PodList and its like need not say what they are. */
function asItemOf({ apiVersion, kind }: Fields & { kind: string }, item: unknown): unknown {
  if (!isObject(item) || item.kind !== undefined) return item
  return { apiVersion, ...item, kind: kind.slice(0, -'List'.length) }
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((node, step) => (isObject(node) ? node[step] : undefined), value)
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
