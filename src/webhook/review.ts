import type { Pod } from '../api/pod.ts'

/** The two versions an API server may send; answers go out in the one that came in. */
type ReviewVersion = 'admission.k8s.io/v1' | 'admission.k8s.io/v1beta1'

/** What is read of an AdmissionReview's request (admission.k8s.io/v1). `namespace` and `object` are sure only for pod creations. */
export interface Review {
  readonly apiVersion: ReviewVersion
  readonly uid: string
  readonly createsPod: boolean
  readonly namespace: string
  /** Empty when the API server is still to make one from `generateName`. */
  readonly name: string
  readonly dryRun: boolean
  readonly object: Pod
  /** The request as it came, for who needs more of it. */
  readonly request: Fields
}

type Fields = Record<string, unknown>

/** Reads a parsed body: the review, or the sentence that says what was expected instead. */
export function readReview(body: unknown): Review | string {
  if (!isObject(body)) return `${EXPECTED}; the body is not a JSON object.`
  const { apiVersion, kind, request } = body
  if (!isReviewVersion(apiVersion)) return `${EXPECTED}; its apiVersion is ${shown(apiVersion)}.`
  if (kind !== 'AdmissionReview') return `${EXPECTED}; its kind is ${shown(kind)}.`
  if (!isObject(request)) return `${EXPECTED} with a request; it has none.`
  return readRequest(apiVersion, request)
}

const EXPECTED = 'Expected an AdmissionReview of admission.k8s.io/v1 or v1beta1'

function readRequest(apiVersion: ReviewVersion, request: Fields): Review | string {
  const { uid, kind, resource, operation, subResource, namespace = '', name = '', dryRun, object } = request
  if (typeof uid !== 'string' || uid === '')
    return `${EXPECTED} whose request has a uid, a text that is not empty.`
  if (!isObject(kind) || typeof kind.kind !== 'string')
    return `${EXPECTED} whose request has a kind, such as {"group":"","version":"v1","kind":"Pod"}.`
  if (!isObject(resource) || typeof resource.resource !== 'string') {
    return `${EXPECTED} whose request has a resource, such as {"group":"","version":"v1","resource":"pods"}.`
  }
  if (typeof operation !== 'string') return `${EXPECTED} whose request has an operation, such as CREATE.`
  if (typeof namespace !== 'string' || typeof name !== 'string')
    return `${EXPECTED} whose request has its namespace and name as texts.`

  const createsPod = operation === 'CREATE' && isPod(kind, resource) && !subResource
  if (createsPod && namespace === '') return `${EXPECTED} whose request has the namespace of the pod.`
  if (namespace !== '' && !isNamespaceName(namespace))
    return `${EXPECTED} whose request has the name of a namespace.`
  if (createsPod && !isObject(object)) return `${EXPECTED} whose request has the pod as its object.`
  return {
    apiVersion,
    uid,
    createsPod,
    namespace,
    name,
    dryRun: dryRun === true,
    object: object as Pod,
    request,
  }
}

/** What is remembered by namespace must not grow with what anybody writes there. */
function isNamespaceName(text: string): boolean {
  return text.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text)
}

function isPod(kind: Fields, resource: Fields): boolean {
  return (
    kind.kind === 'Pod' &&
    kind.version === 'v1' &&
    !kind.group &&
    resource.resource === 'pods' &&
    !resource.group
  )
}

function isReviewVersion(value: unknown): value is ReviewVersion {
  return value === 'admission.k8s.io/v1' || value === 'admission.k8s.io/v1beta1'
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A text from outside is named only if it is short; anything else by its type. */
function shown(value: unknown): string {
  if (typeof value === 'string') return value.length <= 60 ? JSON.stringify(value) : 'a long text'
  return value === undefined ? 'missing' : 'not a text'
}
