/*
 * The API server sends valid pods, but the endpoint answers whoever reaches it. Only the parts that the engine reads are
 * looked at, once, and in the order in which it reads them.
 */

/** The problem as the end of a sentence whose beginning, the way to the value, is put together only if there is one. */
type Check = (value: unknown) => string | undefined

const text: Check = (value) => (typeof value === 'string' ? undefined : ' is not a string')
const flag: Check = (value) => (typeof value === 'boolean' ? undefined : ' is not a boolean')
const number: Check = (value) => (typeof value === 'number' ? undefined : ' is not a number')

/** Absent and null mean the same to Kubernetes. */
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null ? undefined : check(value)

function object(fields: Record<string, Check>): Check {
  const checks = Object.entries(fields)
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return ' is not an object'
    for (const [name, check] of checks) {
      const problem = check((value as Record<string, unknown>)[name])
      if (problem) return `.${name}${problem}`
    }
    return undefined
  }
}

function list(item: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return ' is not a list'
    for (let index = 0; index < value.length; index++) {
      const problem = item(value[index])
      if (problem) return `[${index}]${problem}`
    }
    return undefined
  }
}

const textMap: Check = (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return ' is not an object'
  for (const key in value) {
    if (typeof (value as Record<string, unknown>)[key] !== 'string')
      return `[${key.slice(0, 80)}] is not a string`
  }
  return undefined
}

const namedText = object({ name: optional(text) })

const keyToPath = object({ key: text, path: text, mode: optional(number) })

const securityContext = { runAsUser: optional(number), runAsNonRoot: optional(flag) }

const container = object({
  name: text,
  env: optional(
    list(
      object({
        name: text,
        value: optional(text),
        valueFrom: optional(
          object({ secretKeyRef: optional(object({ name: optional(text), key: optional(text) })) }),
        ),
      }),
    ),
  ),
  envFrom: optional(
    list(
      object({ prefix: optional(text), secretRef: optional(namedText), configMapRef: optional(namedText) }),
    ),
  ),
  volumeMounts: optional(list(object({ name: text, mountPath: text }))),
  securityContext: optional(object(securityContext)),
})

const volume = object({
  name: text,
  projected: optional(
    object({
      sources: optional(
        list(
          object({ secret: optional(object({ name: optional(text), items: optional(list(keyToPath)) })) }),
        ),
      ),
      defaultMode: optional(number),
    }),
  ),
})

const pod = object({
  metadata: optional(object({ annotations: optional(textMap), labels: optional(textMap) })),
  spec: object({
    containers: optional(list(container)),
    initContainers: optional(list(container)),
    volumes: optional(list(volume)),
    imagePullSecrets: optional(list(namedText)),
    serviceAccountName: optional(text),
    serviceAccount: optional(text),
    securityContext: optional(object({ ...securityContext, fsGroup: optional(number) })),
    nodeSelector: optional(textMap),
    os: optional(namedText),
  }),
})

/** A sentence if a part of the pod that the engine reads has the wrong JSON type, such as `spec.containers[0].env is not a list`. */
export function podShapeProblem(value: unknown): string | undefined {
  const problem = pod(value)
  return problem?.startsWith('.') ? problem.slice(1) : problem && `the pod${problem}`
}
