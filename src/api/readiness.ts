import type { CredentialSpec } from './schema.ts'
import type { ReadyReason } from './status.ts'

/** So many names of keys `status.keys` has: a Secret can have tens of thousands, and a status is read by everybody. */
export const MOST_KEYS = 1000

/**
 * And so many characters all of them together, or it has none: one Secret may be named by hundreds of credentials, and every
 * replica of the webhook keeps the names once for each.
 */
export const MOST_KEY_CHARACTERS = 16 * 1024

/** The names of a Secret's keys, sorted, as a status has them; undefined where they are too long. */
export function keysInStatus(sorted: readonly string[]): string[] | undefined {
  const keys = sorted.slice(0, MOST_KEYS)
  const characters = keys.reduce((sum, { length }) => sum + length, 0)
  return characters > MOST_KEY_CHARACTERS ? undefined : keys
}

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

/** What keeps a credential from being ready; the reasons are those of the condition `Ready`. */
export interface NotReady {
  readonly reason: Exclude<ReadyReason, 'SecretFound' | 'Expired'>
  /** Short, because it stands inside warnings of at most 120 characters; every missing key is named. */
  readonly message: string
}

/**
 * Why the credential's Secret cannot be used yet, or undefined when it can.
 * `name` is that of the Secret that the pod waits for: of a ClusterCredential it is the copy in the pod's namespace.
 */
export function notReady(
  spec: CredentialSpec,
  name: string,
  secret: SecretFacts | undefined,
): NotReady | undefined {
  if (secret === undefined) return { reason: 'SecretNotFound', message: `Secret ${name} does not exist yet` }
  if (spec.type === 'dockerRegistry' && !LOGIN_KEYS.has(secret.type)) {
    const message = `Secret ${name} has type ${secret.type}, not kubernetes.io/dockerconfigjson`
    return { reason: 'WrongSecretType', message }
  }
  const present = new Set(secret.keys)
  const missing = neededKeys(spec, secret).filter((key) => !present.has(key))
  if (missing.length === 0) return undefined
  const message = `Secret ${name} lacks ${missing.length === 1 ? 'key' : 'keys'} ${missing.join(', ')}`
  return { reason: 'KeyMissing', message }
}

/** The sentence of `notReady`. */
export function notReadyReason(
  spec: CredentialSpec,
  name: string,
  secret: SecretFacts | undefined,
): string | undefined {
  return notReady(spec, name, secret)?.message
}

/** The keys without which pods would wait; each once, in the order in which the credential names them. */
function neededKeys(spec: CredentialSpec, secret: SecretFacts): string[] {
  if (spec.type === 'dockerRegistry') return [LOGIN_KEYS.get(secret.type) as string]
  return [...new Set([...variableKeys(spec), ...(spec.files ?? []).map(({ key }) => key)])]
}

/** The keys that the listed variables come from. */
function variableKeys({ variables = [] }: CredentialSpec): string[] {
  return variables.filter(({ value }) => value === undefined).map(({ name, key }) => key ?? name)
}

/** Which keys of the secret pods get in which form, those that are not there left out. */
export interface UsedKeys {
  readonly variables: ReadonlySet<string>
  readonly files: ReadonlySet<string>
  /** Those of both that the credential names, rather than takes with all others. */
  readonly named: ReadonlySet<string>
  /** The key that a registry login is read from. */
  readonly login: string | undefined
}

export function usedKeys(spec: CredentialSpec, secret: SecretFacts): UsedKeys {
  const all = new Set(secret.keys)
  const present = (keys: readonly string[]) => new Set(keys.filter((key) => all.has(key)))
  const { type, variables, files } = spec
  if (type === 'dockerRegistry') {
    const none = new Set<string>()
    return { variables: none, files: none, named: none, login: LOGIN_KEYS.get(secret.type) }
  }
  return {
    variables: present(type === 'environment' && !variables ? secret.keys : variableKeys(spec)),
    files: present(type !== 'file' ? [] : files ? files.map(({ key }) => key) : secret.keys),
    named: present(neededKeys(spec, secret)),
    login: undefined,
  }
}
