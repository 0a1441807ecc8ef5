import { MOST_KEYS, notReady, type SecretFacts, type UsedKeys, usedKeys } from '../../api/readiness.ts'
import type { CredentialSpec } from '../../api/schema.ts'
import { type Content, HEALTH_CHECKS, type HealthFault } from './health-checks.ts'
import { revisionOf } from './revision.ts'

/** A Secret as it was read. Lives only as long as it takes to look at it. */
export interface ReadSecret {
  readonly namespace: string
  readonly name: string
  readonly type: string
  readonly content: ReadonlyMap<string, Buffer>
}

/** What is kept of a Secret: names and faults, no value and no part of one. */
export interface SecretReport extends SecretFacts {
  /** The first `MOST_KEYS` by name, and those that the credential names. */
  readonly keys: readonly string[]
  readonly revision: string
  /** In the order of `HEALTH_CHECKS`. */
  readonly faults: readonly Fault[]
  /** How many keys the credential uses whose values were not looked at, because they are too many. */
  readonly unchecked: number
}

/**
 * Looking at a value takes time in which the process does nothing else, not even renew its lease; whoever fills a Secret must
 * not be able to stop it. No real credential has so many keys.
 */
export const MOST_CHECKED = 2000

export interface Fault {
  readonly reason: HealthFault
  /** Names of the keys that have it, sorted. */
  readonly keys: readonly string[]
}

/** Looks at what this credential uses of the Secret. `key` is the one that revisions are made with. */
export function inspect(spec: CredentialSpec, secret: ReadSecret, key: Buffer): SecretReport {
  const facts = { keys: [...secret.content.keys()].sort(), type: secret.type }
  const used = usedKeys(spec, facts)
  const isRightType = notReady(spec, secret.name, facts)?.reason !== 'WrongSecretType'
  const checked = isRightType ? inOrder(used, facts.keys) : []
  return {
    keys: facts.keys.filter((name, index) => index < MOST_KEYS || used.named.has(name)),
    type: facts.type,
    revision: revisionOf(secret, key),
    faults: faultsIn(contentsOf(spec, secret, used, checked.slice(0, MOST_CHECKED))),
    unchecked: Math.max(0, checked.length - MOST_CHECKED),
  }
}

/** The keys that are used, by name; those that the credential names before the others. */
function inOrder({ variables, files, named, login }: UsedKeys, sorted: readonly string[]): string[] {
  const isUsed = (key: string) => variables.has(key) || files.has(key) || login === key
  return [...[...named].sort(), ...sorted.filter((key) => isUsed(key) && !named.has(key))]
}

function contentsOf(
  spec: CredentialSpec,
  { content }: ReadSecret,
  used: UsedKeys,
  keys: readonly string[],
): Content[] {
  return keys.map((key) => ({
    key,
    value: content.get(key) as Buffer,
    asVariable: used.variables.has(key),
    asFile: used.files.has(key),
    asLogin: used.login === key,
    service: spec.service,
    registry: spec.registry,
    other: (name) => content.get(name),
  }))
}

const CHECKS = Object.entries(HEALTH_CHECKS) as [HealthFault, (typeof HEALTH_CHECKS)[HealthFault]][]

function faultsIn(contents: readonly Content[]): Fault[] {
  const keys = new Map<HealthFault, string[]>()
  for (const content of contents) {
    for (const reason of faultsOf(content)) {
      const found = keys.get(reason)
      if (found) found.push(content.key)
      else keys.set(reason, [content.key])
    }
  }
  return CHECKS.flatMap(([reason]) => {
    const found = keys.get(reason)
    return found ? [{ reason, keys: found.sort() }] : []
  })
}

function faultsOf(content: Content): HealthFault[] {
  const found = (stage: string) =>
    CHECKS.filter(([, check]) => check.stage === stage && check.finds(content)).map(([reason]) => reason)
  const text = found('text')
  return [...text, ...(text.length === 0 ? found('form') : []), ...found('style')]
}
