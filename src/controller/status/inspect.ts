import { notReady, type SecretFacts, type UsedKeys, usedKeys } from '../../api/readiness.ts'
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
  readonly revision: string
  /** In the order of `HEALTH_CHECKS`. */
  readonly faults: readonly Fault[]
}

export interface Fault {
  readonly reason: HealthFault
  /** Names of the keys that have it, sorted. */
  readonly keys: readonly string[]
}

/** Looks at what this credential uses of the Secret. `key` is the one that revisions are made with. */
export function inspect(spec: CredentialSpec, secret: ReadSecret, key: Buffer): SecretReport {
  const facts = { keys: [...secret.content.keys()].sort(), type: secret.type }
  const isRightType = notReady(spec, secret.name, facts)?.reason !== 'WrongSecretType'
  return {
    ...facts,
    revision: revisionOf(secret, key),
    faults: isRightType ? faultsIn(contentsOf(spec, secret, usedKeys(spec, facts))) : [],
  }
}

function contentsOf(spec: CredentialSpec, { content }: ReadSecret, used: UsedKeys): Content[] {
  const isUsed = (key: string) => used.variables.has(key) || used.files.has(key) || used.login === key
  const keys = [...content.keys()].sort().filter(isUsed)
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
  for (const content of contents)
    for (const reason of faultsOf(content)) keys.set(reason, [...(keys.get(reason) ?? []), content.key])
  return CHECKS.flatMap(([reason]) => {
    const found = keys.get(reason)
    return found ? [{ reason, keys: found }] : []
  })
}

function faultsOf(content: Content): HealthFault[] {
  const found = (stage: string) =>
    CHECKS.filter(([, check]) => check.stage === stage && check.finds(content)).map(([reason]) => reason)
  const text = found('text')
  return [...text, ...(text.length === 0 ? found('form') : []), ...found('style')]
}
