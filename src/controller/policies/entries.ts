/*
 * What the webhook configuration for policies should hold. Pure.
 *
 * Each policy becomes one entry, so that the API server itself finds its pods, by the policy's own selectors, and does with them
 * what the policy's own failurePolicy says when the webhook cannot be reached. How the webhook is reached, and all else, is as in
 * the entry for annotated pods, which is the chart's; but for its conditions: whom a policy selects is sent, annotated or not.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Policy } from '../../api/catalog.ts'
import { type PolicyRevision, policyPath } from '../../api/policy-path.ts'
import type { LabelSelector } from '../../api/schema.ts'
import type { KubeObject } from '../../kube/client.ts'
import { excludedNamespaces } from '../../store/memory.ts'

/** admissionregistration.k8s.io/v1 MutatingWebhook, as far as it is read here. */
export interface WebhookEntry {
  readonly name: string
  readonly clientConfig: {
    readonly url?: string
    readonly service?: { readonly path?: string; readonly [field: string]: unknown }
    readonly caBundle?: string
  }
  readonly namespaceSelector?: LabelSelector
  readonly objectSelector?: LabelSelector
  readonly failurePolicy?: string
  readonly matchConditions?: unknown
  readonly [field: string]: unknown
}

export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly WebhookEntry[]
}

/** A policy that the cluster has. */
export type StoredPolicy = Policy & { readonly revision: PolicyRevision }

export interface EntriesInput {
  readonly policies: readonly StoredPolicy[]
  /** The entry for annotated pods. */
  readonly template: WebhookEntry
  /** What there is now. */
  readonly present: readonly WebhookEntry[]
  /** Whether somebody else keeps the bundles of entries that are there already. */
  readonly bundlesAreOthers: boolean
  readonly ownNamespace: string
}

/** In order of names, without repeats. */
export function entriesFor(input: EntriesInput): WebhookEntry[] {
  const present = new Map(input.present.map((entry) => [entry.name, entry]))
  const entries = input.policies.map((policy) => entryFor(policy, present, input))
  return entries.sort(({ name: a }, { name: b }) => (a < b ? -1 : 1))
}

function entryFor(
  { name: policy, spec, revision }: StoredPolicy,
  present: ReadonlyMap<string, WebhookEntry>,
  { template, bundlesAreOthers, ownNamespace }: EntriesInput,
): WebhookEntry {
  const { matchConditions: _, clientConfig, ...like } = template
  const name = entryName(policy)
  const known = present.get(name)?.clientConfig.caBundle
  const caBundle = (bundlesAreOthers ? known : undefined) ?? clientConfig.caBundle
  return {
    ...like,
    name,
    clientConfig: {
      ...below(clientConfig, policyPath({ policy, revision })),
      ...(caBundle !== undefined && { caBundle }),
    },
    namespaceSelector: beyond(spec.namespaceSelector, excludedBy(template, ownNamespace)),
    objectSelector: stored(spec.podSelector ?? {}),
    failurePolicy: spec.failurePolicy ?? 'Fail',
  }
}

/** The API server asks for at least three parts, and takes 253 characters. */
const DOMAIN = 'policies.credentials.run.ai'
const MOST_CHARACTERS = 253
const HASH_CHARACTERS = 16

/** Of a policy's entry. Short enough, and still its own, where the policy's name is as long as names can be. */
export function entryName(policy: string): string {
  const room = MOST_CHARACTERS - DOMAIN.length - 1
  if (policy.length <= room) return `${policy}.${DOMAIN}`
  const hash = createHash('sha256').update(policy).digest('hex').slice(0, HASH_CHARACTERS)
  const beginning = policy.slice(0, room - HASH_CHARACTERS - 1).replace(/[^a-z0-9]+$/, '')
  return `${beginning}-${hash}.${DOMAIN}`
}

function below({ url, service }: WebhookEntry['clientConfig'], path: string): WebhookEntry['clientConfig'] {
  if (service !== undefined) return { service: { ...service, path: `${base(service.path)}${path}` } }
  return { url: `${base(url)}${path}` }
}

function base(path = ''): string {
  return path.replace(/\/+$/, '')
}

// ---- Selectors -------------------------------------------------------------------------------------------------------

const NAMESPACE_NAME = 'kubernetes.io/metadata.name'

/**
 * Namespaces that no policy reaches: the cluster's own, the injector's, and those that the chart leaves out by name. The former come
 * first, and so into one requirement however many follow: the fence around this program asks for all of them in one.
 */
export function excludedBy(template: WebhookEntry | undefined, ownNamespace: string): ReadonlySet<string> {
  const more = (template?.namespaceSelector?.matchExpressions ?? [])
    .filter(({ key, operator }) => key === NAMESPACE_NAME && operator === 'NotIn')
    .flatMap(({ values = [] }) => values)
  return new Set([...[...excludedNamespaces(ownNamespace)].sort(), ...more.sort()])
}

/** The selector without namespaces of these names, in their order. */
export function beyond(selector: LabelSelector, excluded: ReadonlySet<string>): LabelSelector {
  const names = [...excluded]
  const exclusions = []
  for (let from = 0; from < names.length; from += MOST_VALUES)
    exclusions.push({
      key: NAMESPACE_NAME,
      operator: 'NotIn' as const,
      values: names.slice(from, from + MOST_VALUES),
    })
  return stored({ ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...exclusions] })
}

/** The policy for those pods only that the entry selects, too. */
export function asSentBy(
  entry: WebhookEntry,
  policy: StoredPolicy,
  excluded: ReadonlySet<string>,
): StoredPolicy {
  const { namespaceSelector, podSelector = {} } = policy.spec
  const namespaces = requirementsBeside(beyond(namespaceSelector, excluded), entry.namespaceSelector)
  const pods = requirementsBeside(stored(podSelector), entry.objectSelector)
  if (namespaces.length + pods.length === 0) return policy
  return {
    ...policy,
    spec: {
      ...policy.spec,
      namespaceSelector: withRequirements(namespaceSelector, namespaces),
      podSelector: withRequirements(podSelector, pods),
    },
  }
}

type Requirement = NonNullable<LabelSelector['matchExpressions']>[number]

/** What the second asks for and the first does not. */
function requirementsBeside(known: LabelSelector, other: LabelSelector = {}): Requirement[] {
  const ofKnown = requirementsIn(known)
  return requirementsIn(other).filter((one) => !ofKnown.some((its) => isDeepStrictEqual(its, one)))
}

function requirementsIn({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Requirement[] {
  const ofLabels = Object.entries(matchLabels).map(([key, value]) => ({
    key,
    operator: 'In' as const,
    values: [value],
  }))
  return [...ofLabels, ...matchExpressions]
}

function withRequirements(selector: LabelSelector, more: readonly Requirement[]): LabelSelector {
  return { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...more] }
}

/** As many as a status takes in one requirement. */
const MOST_VALUES = 64

/** As the API server gives it back: what is empty is not there. */
function stored({ matchLabels = {}, matchExpressions = [] }: LabelSelector): LabelSelector {
  return {
    ...(Object.keys(matchLabels).length > 0 && { matchLabels }),
    ...(matchExpressions.length > 0 && {
      matchExpressions: matchExpressions.map(({ key, operator, values = [] }) => ({
        key,
        operator,
        ...(values.length > 0 && { values }),
      })),
    }),
  }
}
