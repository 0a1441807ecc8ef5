/*
 * What the policies come to in the cluster as it is: in how many namespaces each holds, what it names that is not there, which
 * others it cannot agree with, and how many pods have its credentials.
 *
 * With many policies and namespaces this is a lot to look at, while others wait: so it stops to breathe. What a namespace has for
 * the policies, not which one it is, decides whether they agree there, so namespaces that have the same are tried once.
 */
import { matchesSelector } from '../../api/selector.ts'
import type { CatalogObject } from '../../store/objects.ts'
import type { CredentialObject } from '../watched/credentials.ts'
import type { NamespaceFacts } from '../watched/index.ts'
import type { PodFacts } from '../watched/pods.ts'
import { commonLabels } from './common-labels.ts'
import { conflictsOf } from './conflicts.ts'
import { labelsOf } from './enforced-by.ts'
import type { StoredPolicy } from './entries.ts'

export interface World {
  readonly policies: readonly StoredPolicy[]
  /** Those that policies reach. */
  readonly namespaces: readonly NamespaceFacts[]
  readonly pods: () => Iterable<PodFacts>
  /** By key, such as `Credential/team-a/wandb`. */
  readonly credential: (key: string) => CredentialObject | undefined
  /** What a catalogue would keep of it. */
  readonly kept: (credential: CredentialObject) => CatalogObject
  /** Resolves when others have had their turn. */
  readonly breathe: () => Promise<void>
}

export interface PolicyFindings {
  /** The state of the policy that this is about. */
  readonly revision: StoredPolicy['revision']
  readonly namespaces: number
  /** By name as it is written in the policy: the namespaces that have none of that name, in order. */
  readonly missing: ReadonlyMap<string, readonly string[]>
  /** By the other policy's name. */
  readonly conflicts: ReadonlyMap<string, readonly string[]>
  readonly injectedPods: number
}

export type Assessment = ReadonlyMap<string, PolicyFindings>

/** Steps between two breaths: some milliseconds. */
const STEPS = 5_000
/** Kinds of namespaces that two policies are tried in. */
export const MOST_TRIALS_OF_TWO = 50
/** And all of them together. */
const MOST_TRIALS = 20_000

export async function assess(world: World): Promise<Assessment> {
  const breath = createBreath(world)
  const places = await findPlaces(world, breath)
  const conflicts = await findConflicts(places, breath)
  const pods = await countPods(world, places, breath)
  return new Map(
    world.policies.map(({ name, revision }) => {
      const { namespaces, missing } = places.ofPolicy.get(name) as OfPolicy
      const findings = {
        revision,
        namespaces,
        missing,
        conflicts: conflicts.get(name) ?? NO_CONFLICTS,
        injectedPods: pods.get(name) ?? 0,
      }
      return [name, findings]
    }),
  )
}

const NO_CONFLICTS: ReadonlyMap<string, readonly string[]> = new Map()

type Breath = (steps?: number) => Promise<void> | undefined

function createBreath({ breathe }: World): Breath {
  let steps = 0
  return (more = 1) => {
    steps += more
    if (steps < STEPS) return undefined
    steps = 0
    return breathe()
  }
}

// ---- Where they hold -------------------------------------------------------------------------------------------------

interface OfPolicy {
  namespaces: number
  readonly missing: Map<string, string[]>
}

interface Place {
  readonly namespace: NamespaceFacts
  readonly policies: StoredPolicy[]
  /** By name as written in the policies. */
  readonly found: Map<string, Found>
}

interface Found {
  /** The same for what the engine treats alike. */
  readonly likeness: number
  readonly object: CatalogObject
}

interface Places {
  readonly ofPolicy: ReadonlyMap<string, OfPolicy>
  readonly byNamespace: ReadonlyMap<string, Place>
}

async function findPlaces(world: World, breath: Breath): Promise<Places> {
  const ofPolicy = new Map<string, OfPolicy>(
    world.policies.map(({ name }) => [name, { namespaces: 0, missing: new Map() }]),
  )
  const byNamespace = new Map<string, Place>()
  const look = finder(world)
  for (const namespace of [...world.namespaces].sort(byName)) {
    const labels = labelsOf(namespace)
    const policies = world.policies.filter(({ spec }) => matchesSelector(spec.namespaceSelector, labels))
    await breath(world.policies.length)
    if (policies.length === 0) continue
    const found = new Map<string, Found>()
    for (const { name: policy, spec } of policies) {
      const its = ofPolicy.get(policy) as OfPolicy
      its.namespaces++
      for (const name of spec.credentials) {
        const known = found.get(name) ?? look(name, namespace)
        if (known !== undefined) found.set(name, known)
        if (known === undefined || 'broken' in known.object) noteMissing(its, name, namespace.name)
      }
      await breath(spec.credentials.length)
    }
    byNamespace.set(namespace.name, { namespace, policies, found })
  }
  return { ofPolicy, byNamespace }
}

function noteMissing({ missing }: OfPolicy, name: string, namespace: string): void {
  const known = missing.get(name)
  if (known) known.push(namespace)
  else missing.set(name, [namespace])
}

/** `NAME` is the namespace's own, or else what is offered to it; `cluster/NAME` what is offered. */
function finder({
  credential,
  kept,
}: World): (written: string, namespace: NamespaceFacts) => Found | undefined {
  const likenesses = new Map<string, number>()
  const known = new Map<CredentialObject, Found>()
  return (written, namespace) => {
    const isShared = written.startsWith('cluster/')
    const name = isShared ? written.slice('cluster/'.length) : written
    const own = isShared ? undefined : credential(`Credential/${namespace.name}/${name}`)
    const object = own ?? offered(credential(`ClusterCredential/${name}`), namespace)
    return object && (known.get(object) ?? take(object))
  }

  function take(credential: CredentialObject): Found {
    const object = kept(credential)
    const { kind, metadata, spec, status } = credential
    const likeness = JSON.stringify([kind, metadata.name, spec, status?.keys])
    if (!likenesses.has(likeness)) likenesses.set(likeness, likenesses.size)
    const found = { object, likeness: likenesses.get(likeness) as number }
    known.set(credential, found)
    return found
  }
}

function offered(
  shared: CredentialObject | undefined,
  namespace: NamespaceFacts,
): CredentialObject | undefined {
  const selector = shared && 'namespaceSelector' in shared.spec ? shared.spec.namespaceSelector : undefined
  return selector && matchesSelector(selector, labelsOf(namespace)) ? shared : undefined
}

function byName({ name: a }: { readonly name: string }, { name: b }: { readonly name: string }): number {
  return a < b ? -1 : 1
}

// ---- Who cannot agree ------------------------------------------------------------------------------------------------

type Conflicts = Map<string, Map<string, readonly string[]>>

/** Two policies that can select one pod; or one of them, which may contradict itself. */
interface Couple {
  readonly labels: Readonly<Record<string, string>>
  readonly tried: Set<string>
  isOver: boolean
}

async function findConflicts({ byNamespace }: Places, breath: Breath): Promise<Conflicts> {
  const conflicts: Conflicts = new Map()
  const couples = new Map<string, Couple | undefined>()
  let trials = 0
  for (const { namespace, policies, found } of kindsOf(byNamespace)) {
    for (const [a, b] of couplesOf(policies)) {
      await breath()
      const key = `${a.name} ${b.name}`
      if (!couples.has(key)) couples.set(key, coupleOf(a, b))
      const couple = couples.get(key)
      if (couple === undefined || couple.isOver || trials >= MOST_TRIALS) continue
      const names = [...new Set([...a.spec.credentials, ...b.spec.credentials])]
      const trial = likenessOf(names, found)
      if (couple.tried.has(trial)) continue
      couple.tried.add(trial)
      trials++
      await breath(TRIAL_STEPS)
      const credentials = names.flatMap((name) => found.get(name)?.object ?? [])
      const messages = conflictsOf(a, b, { namespace, credentials, labels: couple.labels })
      couple.isOver = messages.length > 0 || couple.tried.size >= MOST_TRIALS_OF_TWO
      if (messages.length > 0) note(conflicts, a.name, b.name, messages)
    }
  }
  return conflicts
}

/** What one trial costs, compared with a look at two selectors. */
const TRIAL_STEPS = 100

/** One namespace for all in which the same policies find the same. */
function kindsOf(byNamespace: Places['byNamespace']): Place[] {
  const kinds = new Map<string, Place>()
  for (const place of byNamespace.values()) {
    const policies = place.policies.map(({ name }) => name).join()
    const kind = `${policies} ${likenessOf([...place.found.keys()].sort(), place.found)} ${[...place.found.keys()].sort().join()}`
    if (!kinds.has(kind)) kinds.set(kind, place)
  }
  return [...kinds.values()].slice(0, MOST_KINDS)
}

/** Of namespaces that differ in what they have for the policies. */
export const MOST_KINDS = 500

function likenessOf(names: readonly string[], found: Place['found']): string {
  return names.map((name) => found.get(name)?.likeness ?? '').join()
}

function* couplesOf(policies: readonly StoredPolicy[]): Generator<[StoredPolicy, StoredPolicy]> {
  const enforced = policies.filter(({ spec }) => spec.enforcement === 'Enforce')
  for (const [index, a] of enforced.entries()) for (const b of enforced.slice(index)) yield [a, b]
}

function coupleOf({ spec: a }: StoredPolicy, { spec: b }: StoredPolicy): Couple | undefined {
  const labels = commonLabels([a.podSelector ?? {}, b.podSelector ?? {}])
  return labels && { labels, tried: new Set(), isOver: false }
}

function note(conflicts: Conflicts, a: string, b: string, messages: readonly string[]): void {
  for (const [policy, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const known = conflicts.get(policy) ?? new Map<string, readonly string[]>()
    conflicts.set(policy, known.set(other, messages))
  }
}

// ---- Who has been injected -------------------------------------------------------------------------------------------

/** Of pods that have not ended: of an enforced policy those with all that it names, of others those with any of it. */
async function countPods(
  { pods }: World,
  { byNamespace }: Places,
  breath: Breath,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const pod of [...pods()]) {
    const place = byNamespace.get(pod.namespace)
    await breath(1 + (place?.policies.length ?? 0))
    if (place === undefined || pod.isOver || pod.injected.length === 0) continue
    for (const policy of place.policies)
      if (hasGot(pod, policy)) counts.set(policy.name, (counts.get(policy.name) ?? 0) + 1)
  }
  return counts
}

function hasGot({ labels, injected }: PodFacts, { spec }: StoredPolicy): boolean {
  if (spec.podSelector && !matchesSelector(spec.podSelector, labels)) return false
  const has = (written: string) =>
    injected.some(({ kind, name }) =>
      written.startsWith('cluster/')
        ? kind === 'ClusterCredential' && `cluster/${name}` === written
        : name === written,
    )
  return spec.enforcement === 'Enforce' ? spec.credentials.every(has) : spec.credentials.some(has)
}
