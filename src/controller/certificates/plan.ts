/*
 * Which single step comes next. Pure: the state that was read and the time in, a step out; after each step everything is read
 * again. A process that dies between two steps therefore leaves nothing behind that the next one would not see.
 *
 * The one rule: whatever certificate a webhook pod may be serving, its authority is in every bundle that an API server may be
 * using. Pods and API servers are late, by `overlap` and `settle`, so a change of the authority goes
 *
 *     time          authority   bundles     serving certificate
 *     ───────────── ─────────── ─────────── ───────────────────────────────────────
 *                   old         old         by old
 *     MakeAuthority new         old         by old
 *     Trust         new         new + old   by old
 *     NoteTrust     new         new + old   by old        API servers learn the bundle
 *     … settle …
 *     IssueServing  new         new + old   by new        pods fetch the certificate
 *     … overlap …
 *     Trust         new         new         by new
 *     Tidy          new         new         by new
 *
 * The key of the old authority is gone with the first step, and is not needed for any other.
 */
import type { Certificate } from '../../certificates/read.ts'
import type { ConfigurationState, ServingState, State } from './state.ts'

export interface Policy {
  /** DNS names that the serving certificate is for. */
  readonly names: readonly string[]
  /** Milliseconds; see names.ts. */
  readonly overlap: number
  readonly settle: number
}

export type Step =
  /** Make a new authority, and keep `trusted` on record with it. */
  | { readonly kind: 'MakeAuthority'; readonly reason: string; readonly trusted: readonly Certificate[] }
  /** Write the bundle into every entry of these configurations. */
  | {
      readonly kind: 'Trust'
      readonly configurations: readonly ConfigurationState[]
      readonly bundle: string
    }
  /** Note down that every configuration trusts the authority from now on, or that this is no longer so. */
  | { readonly kind: 'NoteTrust'; readonly since: number | undefined }
  | { readonly kind: 'IssueServing'; readonly reason: string }
  /** Old authorities are no longer needed on record. */
  | { readonly kind: 'Tidy'; readonly trusted: readonly Certificate[] }

export interface Plan {
  readonly step: Step | undefined
  /** When the next step may be due, if nothing else changes; milliseconds since 1970. */
  readonly lookAgain: number
  /** Secrets that are in the way. */
  readonly foreign: readonly ('authority' | 'serving')[]
}

export function planNext(state: State, policy: Policy, now: number): Plan {
  const foreign = (['authority', 'serving'] as const).filter((which) => state[which].status === 'Foreign')
  if (foreign.length > 0) return { step: undefined, lookAgain: Number.POSITIVE_INFINITY, foreign }
  const { step, lookAgain } = nextStep(state, policy, now)
  return { step, lookAgain, foreign }
}

interface Next {
  readonly step: Step | undefined
  readonly lookAgain: number
}

function nextStep(state: State, policy: Policy, now: number): Next {
  const { authority, serving, configurations } = state
  const { certificate } = authority
  const reason = reasonForAuthority(state, now)
  if (reason || !certificate) {
    return at(now, { kind: 'MakeAuthority', reason: reason ?? '', trusted: trustedUntilNow(state, now) })
  }

  const others = isSettled(serving, policy, now) ? [] : trustedUntilNow(state, now, certificate)
  const issueFor = reasonForServing(serving, policy, now)
  // Only while two authorities are in play does it matter since when the new one is trusted.
  const isHandover = issueFor !== undefined && others.length > 0
  const bundle = bundleOf([certificate, ...others])
  const stale = configurations.filter(({ entries }) => entries.some((entry) => entry.bundle !== bundle))

  if (isHandover && authority.trustedSince !== undefined && stale.some(lacks(certificate)))
    return at(now, { kind: 'NoteTrust', since: undefined })
  if (stale.length > 0) return at(now, { kind: 'Trust', configurations: stale, bundle })
  if (isHandover && authority.trustedSince === undefined) return at(now, { kind: 'NoteTrust', since: now })
  if (issueFor) {
    const due = isHandover ? (authority.trustedSince ?? now) + policy.settle : now
    return now < due
      ? { step: undefined, lookAgain: due }
      : at(now, { kind: 'IssueServing', reason: issueFor })
  }
  if (others.length === 0 && !isTidy(state, certificate))
    return at(now, { kind: 'Tidy', trusted: [certificate] })
  return { step: undefined, lookAgain: nextChange(state, certificate, policy, now) }
}

// ---- What is needed --------------------------------------------------------------------------------------------------

/** Of an authority's life, the part after which its successor is made: the rest is for whoever overlooks that it fails. */
const AUTHORITY_RENEWAL = 0.8
/** Of a serving certificate's life; and the part of it by which renewals of many clusters spread. */
const SERVING_RENEWAL = 2 / 3
const SERVING_JITTER = 0.1

function reasonForAuthority({ authority }: State, now: number): string | undefined {
  const { status, certificate, rotate } = authority
  if (status === 'Absent') return 'there is none'
  if (!certificate) return 'what its Secret holds cannot be used'
  if (certificate.notAfter <= now) return 'it has expired'
  if (rotate) return 'its rotation was asked for'
  if (now >= authorityRenewal(certificate)) return 'most of its life is over'
  return undefined
}

function reasonForServing(serving: ServingState, { names }: Policy, now: number): string | undefined {
  const { status, certificate, rotate, byAuthority } = serving
  if (status === 'Absent') return 'there is none'
  if (!certificate) return 'what its Secret holds cannot be used'
  if (certificate.notAfter <= now) return 'it has expired'
  if (!byAuthority) return 'another authority has signed it'
  if (!isFor(certificate, names)) return 'it is for other names'
  if (rotate) return 'its renewal was asked for'
  if (now >= servingRenewal(certificate)) return 'two thirds of its life are over'
  return undefined
}

function isFor({ dnsNames }: Certificate, names: readonly string[]): boolean {
  return dnsNames.length === names.length && names.every((name) => dnsNames.includes(name))
}

function authorityRenewal({ issuedAt, notAfter }: Certificate): number {
  return issuedAt + (notAfter - issuedAt) * AUTHORITY_RENEWAL
}

/** Earlier by a part that its serial number decides: random, and the same at every look. */
function servingRenewal({ serial, issuedAt, notAfter }: Certificate): number {
  const chance = Number.parseInt(serial.slice(-4), 16) / 0xffff
  return issuedAt + (notAfter - issuedAt) * (SERVING_RENEWAL - SERVING_JITTER * chance)
}

// ---- Who is trusted --------------------------------------------------------------------------------------------------

/** True once no pod can be serving an earlier certificate than the one that is stored, and it is the present authority's. */
function isSettled({ byAuthority, certificate }: ServingState, { overlap }: Policy, now: number): boolean {
  return byAuthority && certificate !== undefined && now >= certificate.issuedAt + overlap
}

/**
 * Every other authority that is on record anywhere. The bundles count too: they are all that is left if somebody deletes both
 * Secrets, and pods go on serving what they have.
 */
function trustedUntilNow({ authority, serving, configurations }: State, now: number, present?: Certificate) {
  const known = [
    ...(authority.certificate ? [authority.certificate] : []),
    ...authority.authorities,
    ...serving.authorities,
    ...configurations.flatMap(({ entries }) => entries.flatMap(({ authorities }) => authorities)),
  ].filter(
    ({ isAuthority, notAfter, fingerprint }) =>
      isAuthority && notAfter > now && fingerprint !== present?.fingerprint,
  )
  return [...new Map(known.map((certificate) => [certificate.fingerprint, certificate])).values()].sort(
    (a, b) => b.issuedAt - a.issuedAt || (a.fingerprint < b.fingerprint ? -1 : 1),
  )
}

export function bundleOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ pem }) => pem).join('')
}

function lacks({ fingerprint }: Certificate) {
  return ({ entries }: ConfigurationState) =>
    entries.some(({ authorities }) => !authorities.some((authority) => authority.fingerprint === fingerprint))
}

function isTidy({ authority }: State, { fingerprint }: Certificate): boolean {
  const [only, ...rest] = authority.authorities
  return only?.fingerprint === fingerprint && rest.length === 0 && authority.trustedSince === undefined
}

// ---- When ------------------------------------------------------------------------------------------------------------

function at(now: number, step: Step): Next {
  return { step, lookAgain: now }
}

function nextChange({ serving }: State, authority: Certificate, { overlap }: Policy, now: number): number {
  const changes = [authorityRenewal(authority)]
  if (serving.certificate) {
    changes.push(servingRenewal(serving.certificate), serving.certificate.issuedAt + overlap)
  }
  return Math.min(...changes.filter((change) => change > now))
}
