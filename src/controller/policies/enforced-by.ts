import type { Policy } from '../../api/catalog.ts'
import type { LabelSelector } from '../../api/schema.ts'
import { matchesSelector } from '../../api/selector.ts'
import type { ClusterCredentialStatus } from '../../api/status.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import type { NamespaceFacts } from '../watched/index.ts'
import { beyond } from './entries.ts'

export type EnforcedBy = NonNullable<ClusterCredentialStatus['enforcedBy']>

export interface EnforcedByInput {
  /** In effect, with enforcement Enforce, ordered by name. */
  readonly policies: readonly Policy[]
  /** Namespaces that no policy reaches. */
  readonly excluded: ReadonlySet<string>
  readonly namespace: (name: string) => NamespaceFacts | undefined
  /** Namespaces that have a Credential of that name. */
  readonly namespacesWith: (name: string) => Iterable<string>
}

/** More are left out: such a cluster has other worries, and a status has an end. */
export const MOST_ENFORCED_BY = 64
/** Requirements of a selector in a status. */
const MOST_REQUIREMENTS = 64

/**
 * Policies that give this credential to pods, whether they want it or not; undefined if there are none. The selectors are
 * complete: whoever checks a finished pod by them need not know what else leaves a namespace out.
 *
 * `NAME` in a policy means the namespace's own Credential where there is one. So a ClusterCredential's entry leaves out, by name,
 * the namespaces that have one; and where those are too many for a selector, the entry itself is left out.
 */
export function enforcedBy(credential: CredentialObject, input: EnforcedByInput): EnforcedBy | undefined {
  const entries = input.policies
    .flatMap((policy) => entryOf(credential, policy, input) ?? [])
    .slice(0, MOST_ENFORCED_BY)
  return entries.length === 0 ? undefined : entries
}

function entryOf(
  { metadata: { name, namespace } }: CredentialObject,
  { name: policy, spec }: Policy,
  { excluded, namespace: find, namespacesWith }: EnforcedByInput,
): EnforcedBy[number] | undefined {
  const isNamed = spec.credentials.includes(name)
  if (namespace !== undefined) {
    const isMeant = isNamed && !excluded.has(namespace) && selects(spec.namespaceSelector, find(namespace))
    return isMeant ? entry(policy, spec, excluded) : undefined
  }
  if (spec.credentials.includes(`cluster/${name}`)) return entry(policy, spec, excluded)
  if (!isNamed) return undefined
  const shadowed = [...namespacesWith(name)].filter((home) => selects(spec.namespaceSelector, find(home)))
  return entry(policy, spec, new Set([...excluded, ...shadowed.sort()]))
}

function entry(
  policy: string,
  { namespaceSelector, podSelector }: Policy['spec'],
  excluded: ReadonlySet<string>,
): EnforcedBy[number] | undefined {
  const namespaces = beyond(namespaceSelector, excluded)
  if (!hasRoomFor(namespaces) || !hasRoomFor(podSelector)) return undefined
  return { policy, namespaceSelector: namespaces, ...(podSelector && { podSelector }) }
}

/** Whether finished pods can be checked for the policy at all: its selector has room for the namespaces that are left out. */
export function canBeChecked({ spec }: Policy, excluded: ReadonlySet<string>): boolean {
  return hasRoomFor(beyond(spec.namespaceSelector, excluded))
}

function hasRoomFor({ matchExpressions = [] }: LabelSelector = {}): boolean {
  return matchExpressions.length <= MOST_REQUIREMENTS
}

function selects(
  selector: Policy['spec']['namespaceSelector'],
  namespace: NamespaceFacts | undefined,
): boolean {
  return namespace !== undefined && matchesSelector(selector, labelsOf(namespace))
}

/** The API server sets this label on every namespace. */
export function labelsOf({ name, labels }: NamespaceFacts): Readonly<Record<string, string>> {
  return labels['kubernetes.io/metadata.name'] === name
    ? labels
    : { ...labels, 'kubernetes.io/metadata.name': name }
}
