import type { CredentialSpec } from './schema.ts'

/** What is known of a Secret without its values. */
export interface SecretFacts {
  /** Names of its keys. */
  readonly keys: readonly string[]
  /** `Opaque`, `kubernetes.io/dockerconfigjson`, … */
  readonly type: string
}

/** The types of Secret that a registry login can be read from, and the key that each holds it in (core/v1 Secret). */
const LOGIN_KEYS: ReadonlyMap<string, string> = new Map([
  ['kubernetes.io/dockerconfigjson', '.dockerconfigjson'],
  ['kubernetes.io/dockercfg', '.dockercfg'],
])

/**
 * Why the credential's Secret cannot be used yet, or undefined when it can. Short, because it stands inside warnings of
 * at most 120 characters; every missing key is named.
 * `name` is that of the Secret that the pod waits for: of a ClusterCredential it is the copy in the pod's namespace.
 */
export function notReadyReason(
  spec: CredentialSpec,
  name: string,
  secret: SecretFacts | undefined,
): string | undefined {
  if (secret === undefined) return `Secret ${name} does not exist yet`
  if (spec.type === 'dockerRegistry' && !LOGIN_KEYS.has(secret.type)) {
    return `Secret ${name} has type ${secret.type}, not kubernetes.io/dockerconfigjson`
  }
  const missing = neededKeys(spec, secret).filter((key) => !secret.keys.includes(key))
  if (missing.length === 0) return undefined
  return `Secret ${name} lacks ${missing.length === 1 ? 'key' : 'keys'} ${missing.join(', ')}`
}

/** The keys without which pods would wait; each once, in the order in which the credential names them. */
function neededKeys(spec: CredentialSpec, secret: SecretFacts): string[] {
  if (spec.type === 'dockerRegistry') return [LOGIN_KEYS.get(secret.type) as string]
  const variables = (spec.variables ?? []).filter(({ value }) => value === undefined)
  const keys = [...variables.map(({ name, key }) => key ?? name), ...(spec.files ?? []).map(({ key }) => key)]
  return [...new Set(keys)]
}
