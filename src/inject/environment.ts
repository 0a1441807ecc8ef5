import type { ConflictMode } from '../annotations.ts'
import type { NamespaceView } from '../api/catalog.ts'
import type { EnvFromSource, EnvVar } from '../api/pod.ts'
import type { Claim, Source } from './claims.ts'
import type { Findings } from './findings.ts'
import type { Target } from './targets.ts'

/*
 * Where a variable comes from in a running container: `env` beats `envFrom`, the last of several `env` entries of one
 * name wins, and later `envFrom` entries beat earlier ones. So the order of the lists decides, and this is the order:
 *
 *   envFrom:  Default policies │ named │ the container's own │ named under CredentialWins │ Enforce policies
 *             (first policy last)
 *   env:      all listed variables, then the container's own (so that `$(VARIABLE)` in them resolves)
 *
 * A variable that loses is left out of `env`; in `envFrom`, where nothing can be left out, the winner stands later.
 */

/** The winner of one variable among all claims. */
export interface Settled {
  name: string
  source: Source
  claim: Claim
  /** Weaker or later claims that give it from the same source. */
  also: Claim[]
  /** It would become an `env` entry; otherwise it comes with its whole secret by `envFrom`. */
  listed: boolean
}

/** All variables that a set of claims gives, and the secrets that come by `envFrom`. */
export interface Environment {
  variables: Map<string, Settled>
  wholeSecrets: Claim[]
}

/** What changes in the environment of one container. */
export interface EnvironmentPlan {
  /** New `env` entries, before the container's own. */
  add: Settled[]
  /** Entries of `env` whose value changes in place. */
  replace: { index: number; variable: Settled }[]
  /** New `envFrom` entries; `index` counts in the list as it is when the entry is added. */
  insert: { index: number; secret: string; claim: Claim }[]
  /** Claims of which a variable or the secret is there already. */
  present: Claim[]
}

/** Claims that are to win over a source of the container's own: its place in `envFrom`. */
type Rivals = Map<Claim, number>

/** Decides between the claims themselves: who gives which variable. */
export function settleEnvironment(
  claims: readonly Claim[],
  mode: ConflictMode,
  findings: Findings,
): Environment {
  const variables = new Map<string, Settled>()
  const firstOfStrength = new Map<string, Settled>()
  const offer = (settled: Settled) => {
    const { name, claim } = settled
    const winner = variables.get(name)
    if (!winner) {
      variables.set(name, settled)
      return
    }
    if (sameSource(winner.source, settled.source)) {
      winner.also.push(claim)
      // One that is listed wins over every `envFrom`, whoever else loads its whole secret.
      winner.listed ||= settled.listed
      return
    }
    if (winner.claim.strength !== claim.strength) {
      const key = `${claim.strength} ${name}`
      const rival = firstOfStrength.get(key)
      if (rival) meetClaim(rival, settled, mode, findings)
      else firstOfStrength.set(key, settled)
    }
    meetClaim(winner, settled, mode, findings)
  }
  for (const claim of claims) {
    for (const { name, source } of claim.listed) offer({ name, source, claim, also: [], listed: true })
    if (!claim.wholeSecret) continue
    const secret = claim.credential.secretName
    for (const key of claim.credential.keys ?? [])
      offer({ name: key, source: { secret, key }, claim, also: [], listed: false })
  }
  return { variables, wholeSecrets: claims.filter((claim) => claim.wholeSecret) }
}

function meetClaim(winner: Settled, loser: Settled, mode: ConflictMode, findings: Findings): void {
  const { name, claim } = loser
  // One credential at two places: its plain values follow the first.
  if (sameSource(winner.source, loser.source) || winner.claim.credential === claim.credential) return
  const strengths = `${winner.claim.strength} ${claim.strength}`
  if (claim.strength === 'Default') {
    findings.warn('LeftOut', `${name} comes from ${winner.claim.label}, not from ${claim.label}`)
  } else if (strengths === 'Enforce Named' && mode === 'CredentialWins') {
    findings.warn('PolicyOverrides', `${name} comes from ${winner.claim.label}, not from ${claim.label}`)
  } else if (strengths === 'Named Named') {
    findings.deny(
      'EnvConflict',
      claim.field,
      `${winner.claim.label} and ${claim.label} both give the variable ${name}, from different sources`,
    )
  } else {
    findings.deny(
      'PolicyConflict',
      claim.field,
      `${winner.claim.label} enforces the variable ${name}, and ${claim.label} gives it from another source`,
    )
  }
}

/** Decides between the claims and what one container has of its own. */
export function planEnvironment(
  target: Target,
  { variables, wholeSecrets }: Environment,
  mode: ConflictMode,
  view: NamespaceView,
  findings: Findings,
): EnvironmentPlan | undefined {
  if (variables.size === 0 && wholeSecrets.length === 0) return undefined
  const plan: EnvironmentPlan = { add: [], replace: [], insert: [], present: [] }
  const own = ownEnvironment(target, variables, wholeSecrets, view)
  const rivals: Rivals = new Map()
  for (const variable of variables.values()) {
    const envIndex = own.env.get(variable.name)
    const from = own.envFrom.get(variable.name)
    if (envIndex !== undefined) meetEnv(variable, envIndex, target, mode, plan, findings)
    else if (from && !isSame(variable.source, from))
      meetEnvFrom(variable, from, target, mode, plan, rivals, findings)
    else if (variable.listed) plan.add.push(variable)
  }
  placeSecrets(target, wholeSecrets, own, mode, rivals, plan)
  warnAboutSources(target, wholeSecrets, own, mode, findings)
  return plan
}

/** A variable that the container loads from a known secret. */
interface Loaded {
  secret: string
  key: string
  /** Place in `envFrom`. */
  index: number
  label: string
}

interface OwnEnvironment {
  /** Place in `env` of the entry that counts (the last), for the variables that matter. */
  env: Map<string, number>
  /** The `envFrom` source that counts (the last), for the variables that matter. */
  envFrom: Map<string, Loaded>
  /** Places in `envFrom` of sources whose keys are not known. */
  opaque: number[]
}

function ownEnvironment(
  { container }: Target,
  variables: Map<string, Settled>,
  wholeSecrets: Claim[],
  view: NamespaceView,
): OwnEnvironment {
  const own: OwnEnvironment = { env: new Map(), envFrom: new Map(), opaque: [] }
  container.env?.forEach(({ name }, index) => {
    if (variables.has(name)) own.env.set(name, index)
  })
  container.envFrom?.forEach((entry, index) => {
    const secret = entry.secretRef?.name
    const known = secret === undefined ? undefined : view.knownSecret(secret)
    if (known?.keys) {
      for (const key of known.keys) {
        const name = (entry.prefix ?? '') + key
        if (variables.has(name))
          own.envFrom.set(name, { secret: secret as string, key, index, label: labelOf(known.credential) })
      }
    } else if (!wholeSecrets.some((claim) => loads(entry, claim))) {
      own.opaque.push(index)
    }
  })
  return own
}

function meetEnv(
  variable: Settled,
  index: number,
  target: Target,
  mode: ConflictMode,
  plan: EnvironmentPlan,
  findings: Findings,
): void {
  const { name, claim, source } = variable
  const entry = target.container.env?.[index] as EnvVar
  const rival: Rival = {
    reason: 'EnvConflict',
    field: `${target.field}.env[${index}]`,
    place: 'env',
    does: `sets ${name} itself`,
  }
  if (entryHasSource(entry, source)) {
    const isOptional = entry.valueFrom?.secretKeyRef?.optional === true
    const enforcing = isOptional
      ? [claim, ...variable.also].find((each) => enforcesEntry(each, name))
      : undefined
    if (enforcing === undefined) {
      plan.present.push(claim, ...variable.also)
      if (isOptional) warnOptional(`the entry ${name}`, target, findings)
      return
    }
    const surely = {
      ...rival,
      does: `sets ${name} with optional: true`,
      otherwise: 'without that: leave optional out',
    }
    if (credentialWins({ ...variable, claim: enforcing }, surely, target, mode, findings))
      plan.replace.push({ index, variable })
    return
  }
  if (credentialWins(variable, rival, target, mode, findings)) plan.replace.push({ index, variable })
}

/**
 * Whether a policy wants this very entry: then it may not be optional, or whoever takes the secret away for a moment has pods
 * that start without it. Where the whole secret is enforced, its `envFrom` holds them up.
 */
function enforcesEntry({ strength, listed }: Claim, name: string): boolean {
  return strength === 'Enforce' && listed.some((variable) => variable.name === name)
}

function meetEnvFrom(
  variable: Settled,
  loaded: Loaded,
  target: Target,
  mode: ConflictMode,
  plan: EnvironmentPlan,
  rivals: Rivals,
  findings: Findings,
): void {
  const { name, claim, listed } = variable
  const rival: Rival = {
    reason: 'EnvFromConflict',
    field: `${target.field}.envFrom[${loaded.index}]`,
    place: `Secret ${loaded.secret}`,
    does: `loads ${name} from secret ${loaded.secret} of ${loaded.label}`,
  }
  if (!credentialWins(variable, rival, target, mode, findings)) return
  if (listed) plan.add.push(variable)
  else rivals.set(claim, Math.max(loaded.index, rivals.get(claim) ?? 0))
}

/** Something of the container's own that gives a claimed variable another value. */
interface Rival {
  reason: 'EnvConflict' | 'EnvFromConflict'
  field: string
  place: string
  does: string
  /** How the credential gives it; from another source when absent. */
  otherwise?: string
}

/** Says who wins, and reports it: the credential (true), or the container's own value, which stays or is refused. */
function credentialWins(
  { name, claim }: Settled,
  rival: Rival,
  { container }: Target,
  mode: ConflictMode,
  findings: Findings,
): boolean {
  const { strength, label } = claim
  if (strength === 'Default' || (strength === 'Named' && mode === 'WorkloadWins')) {
    const reason = strength === 'Default' ? 'LeftOut' : 'WorkloadOverrides'
    findings.warn(
      reason,
      `${container.name}: ${name} stays as the pod sets it (${rival.place}), not as ${label} does`,
    )
    return false
  }
  if (mode === 'CredentialWins') {
    const reason = strength === 'Enforce' ? 'PolicyOverrides' : 'CredentialOverrides'
    findings.warn(reason, `${container.name}: ${name} comes from ${label}, not from the pod`)
    return true
  }
  const [reason, gives] =
    strength === 'Enforce' ? (['PolicyConflict', 'enforces'] as const) : ([rival.reason, 'gives'] as const)
  findings.deny(
    reason,
    rival.field,
    `container ${container.name} ${rival.does}, and ${label} ${gives} it ${rival.otherwise ?? 'from another source'}`,
  )
  return false
}

/*
 * A secret that the container loads already keeps its place, with two exceptions, in which it is loaded once more at the
 * end, where it wins:
 *  - an own source of one of the same variables stands behind it, and the credential is to win;
 *  - an enforced policy's secret is optional, or a source behind it may hold anything: nobody may override it.
 * New entries at the front go before all that stands there: nobody can tell whether that is the container's own, which
 * is to win. At the end they go next to what an earlier round put there.
 */
function placeSecrets(
  target: Target,
  wholeSecrets: Claim[],
  own: OwnEnvironment,
  mode: ConflictMode,
  rivals: Rivals,
  plan: EnvironmentPlan,
): void {
  if (wholeSecrets.length === 0) return
  const list = (target.container.envFrom ?? []).slice()
  const [front, back, shared] = frontAndBack(wholeSecrets, mode)
  plan.present.push(...shared)
  const again = back.filter((claim) => isOverridden(claim, list, own, rivals))
  placeAtFront(front, list, plan)
  placeAtBack(back, again, list, plan)
  for (const claim of back)
    if (hasNamedBehind(claim, wholeSecrets, list)) insert(claim, list.length, list, plan)
}

/** A named secret may have come to stand behind an enforced one that the container loads itself. */
function hasNamedBehind(claim: Claim, wholeSecrets: Claim[], list: readonly EnvFromSource[]): boolean {
  if (claim.strength !== 'Enforce') return false
  const last = list.findLastIndex((entry) => loads(entry, claim))
  const enforced = wholeSecrets.filter(({ strength }) => strength === 'Enforce')
  const rivals = wholeSecrets.filter(
    (other) =>
      other.strength === 'Named' &&
      mayOverlap(claim, other) &&
      // Where a policy enforces the same secret, it stands there for the policy's sake.
      !enforced.some((stronger) => sharesSecret(stronger, other)),
  )
  return list.slice(last + 1).some((entry) => rivals.some((other) => loads(entry, other)))
}

function mayOverlap({ credential }: Claim, { credential: other }: Claim): boolean {
  if (credential.secretName === other.secretName) return false
  if (!credential.keys || !other.keys) return true
  const keys = new Set(other.keys)
  return credential.keys.some((key) => keys.has(key))
}

/** Claims whose secrets come before the container's own, and after them; and claims on secrets that stronger ones load. */
function frontAndBack(wholeSecrets: Claim[], mode: ConflictMode): [Claim[], Claim[], Claim[]] {
  const enforced = wholeSecrets.filter(({ strength }) => strength === 'Enforce')
  const named = wholeSecrets.filter(({ strength }) => strength === 'Named')
  const back = mode === 'CredentialWins' ? [...named, ...enforced] : enforced
  const front = mode === 'CredentialWins' ? defaultsOf(wholeSecrets) : [...defaultsOf(wholeSecrets), ...named]
  // Two credentials may share a secret: it is loaded once, where the stronger needs it.
  const isShared = (claim: Claim) => back.some((stronger) => sharesSecret(stronger, claim))
  return [front.filter((claim) => !isShared(claim)), back, front.filter(isShared)]
}

function sharesSecret(one: Claim, other: Claim): boolean {
  return one.credential.secretName === other.credential.secretName
}

/** Later ones win, so the policy whose name comes first stands last. */
function defaultsOf(claims: Claim[]): Claim[] {
  return claims.filter(({ strength }) => strength === 'Default').reverse()
}

function placeAtFront(claims: Claim[], list: EnvFromSource[], plan: EnvironmentPlan): void {
  let place = 0
  for (const [index, claim] of claims.entries()) {
    const isSharedWithStronger = claims.slice(index + 1).some((stronger) => sharesSecret(stronger, claim))
    if (isSharedWithStronger || list.some((entry) => loads(entry, claim))) plan.present.push(claim)
    else insert(claim, place++, list, plan)
  }
}

function placeAtBack(claims: Claim[], again: Claim[], list: EnvFromSource[], plan: EnvironmentPlan): void {
  let fromEnd = 0
  for (const claim of claims.toReversed()) {
    const found = again.includes(claim) ? -1 : list.findLastIndex((entry) => loads(entry, claim))
    if (found === list.length - 1 - fromEnd && found >= 0) fromEnd++
    if (found >= 0) plan.present.push(claim)
    else insert(claim, list.length - fromEnd++, list, plan)
  }
}

function insert(claim: Claim, index: number, list: EnvFromSource[], plan: EnvironmentPlan): void {
  const secret = claim.credential.secretName
  list.splice(index, 0, { secretRef: { name: secret } })
  plan.insert.push({ index, secret, claim })
}

function isOverridden(claim: Claim, list: EnvFromSource[], own: OwnEnvironment, rivals: Rivals): boolean {
  const last = list.findLastIndex((entry) => loads(entry, claim))
  if (last < 0) return false
  if ((rivals.get(claim) ?? -1) > last) return true
  return (
    claim.strength === 'Enforce' &&
    (list[last]?.secretRef?.optional === true || own.opaque.some((index) => index > last))
  )
}

function warnAboutSources(
  target: Target,
  wholeSecrets: Claim[],
  own: OwnEnvironment,
  mode: ConflictMode,
  findings: Findings,
): void {
  const { container } = target
  container.envFrom?.forEach((entry) => {
    const optional = entry.secretRef?.optional && wholeSecrets.find((claim) => loads(entry, claim))
    if (optional) warnOptional(`envFrom of secret ${entry.secretRef?.name}`, target, findings)
  })
  if (
    mode !== 'Reject' ||
    own.opaque.length === 0 ||
    !wholeSecrets.some(({ strength }) => strength === 'Named')
  )
    return
  for (const index of own.opaque) {
    findings.warn(
      'UnknownKeys',
      `${container.name}: the keys of ${sourceName(container.envFrom?.[index])} cannot be compared; where they overlap, they win`,
    )
  }
}

function sourceName(entry: EnvFromSource | undefined): string {
  if (entry?.configMapRef) return `ConfigMap ${entry.configMapRef.name}`
  return entry?.secretRef ? `Secret ${entry.secretRef.name}` : 'an envFrom source'
}

function warnOptional(what: string, target: Target, findings: Findings): void {
  findings.warn(
    'OptionalSource',
    `${target.container.name}: ${what} is optional: the container would start without it`,
  )
}

/** Exactly the secret's keys, under their own names. */
function loads(entry: EnvFromSource, claim: Claim): boolean {
  return entry.secretRef?.name === claim.credential.secretName && !entry.prefix
}

function sameSource(a: Source, b: Source): boolean {
  return 'value' in a ? 'value' in b && a.value === b.value : isSame(b, a)
}

function isSame(source: Source, other: { secret: string; key: string }): boolean {
  return 'secret' in source && source.secret === other.secret && source.key === other.key
}

function entryHasSource(entry: EnvVar, source: Source): boolean {
  if ('value' in source) return !entry.valueFrom && literal(entry.value ?? '') === source.value
  const ref = entry.valueFrom?.secretKeyRef
  return ref?.name === source.secret && ref.key === source.key
}

/** The text that the kubelet makes of a value, or undefined where that depends on other variables. */
function literal(value: string): string | undefined {
  if (!value.includes('$')) return value
  let dynamic = false
  const text = value.replace(/\$\$|\$\(/g, (found) => {
    if (found === '$(') dynamic = true
    return '$'
  })
  return dynamic ? undefined : text
}

/** A plain value as it must stand in a pod to arrive as it is: the kubelet makes `$` of `$$` and expands `$(…)`. */
export function escapeValue(value: string): string {
  return value.replaceAll('$', '$$$$')
}

function labelOf({ kind, name }: { kind: string; name: string }): string {
  return `${kind} ${name}`
}
