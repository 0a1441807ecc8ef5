import type { DirectReads, LookedUp, NamespaceView, Store } from '../api/catalog.ts'
import { isUpTo, type SentBy } from '../api/policy-path.ts'
import type { LeftAloneReason } from '../api/reasons.ts'
import {
  type InjectedCredential,
  inject,
  namesMissing,
  type Outcome,
  podShapeProblem,
  presentWarnings,
} from '../inject/index.ts'
import { allow, allowWithPatch, deny, type Remarks } from './answers.ts'
import { applyInPlace } from './apply.ts'
import type { Review } from './review.ts'

export interface AdmissionSettings {
  readonly store: Store
  /** Where the store may be behind its source. */
  readonly reads?: DirectReads
  /** Namespaces whose pods are never touched. */
  readonly excludedNamespaces: ReadonlySet<string>
}

/** An answer's body, and what log and metrics say about it. */
export interface Decision {
  readonly body: string
  /** Undefined for what is not the creation of a pod. */
  readonly outcome: Outcome | undefined
  /** The catalogue that it was decided by. */
  readonly view?: NamespaceView
  /** Why a patch was left out: it did not apply, which is a bug of ours. */
  readonly patchBug?: unknown
}

/** The pod in a review has parts of the wrong JSON type; the sentence names the first. */
export interface BadPod {
  readonly badPod: string
}

/** Not decided yet: the store may be behind. To be judged again, with what comes of this. */
export interface Undecided {
  readonly lookingUp: Promise<LookedUp>
}

/** It cannot be decided, and must not be guessed; the sentence says why. */
export interface Undecidable {
  readonly unavailable: string
}

/**
 * Answers a review. Pure and synchronous, but it may change the parsed pod, which nobody needs afterwards.
 * `now` in milliseconds since 1970; `sentBy` where it was sent for the sake of a policy. Throws only if the engine has a bug.
 */
export function admit(
  review: Review,
  settings: AdmissionSettings,
  now: number,
  sentBy?: SentBy,
): Decision | BadPod | Undecided {
  const { store, reads, excludedNamespaces } = settings
  if (!review.createsPod) return { body: allow(review, NOT_A_POD_CREATE), outcome: undefined }
  const badPod = podShapeProblem(review.object)
  if (badPod !== undefined) return { badPod: `Expected a pod that follows the Kubernetes API: ${badPod}.` }

  // The namespace is the request's, never the pod's: whoever writes the pod must not choose whose credentials it gets.
  const view = store.view(review.namespace)
  const outcome = inject({ pod: review.object, view, excludedNamespaces, now })
  if (reads === undefined || isSettled(outcome)) return decisionOn(review, outcome, view)
  const isBehind = sentBy !== undefined && !knows(view, sentBy)
  const lookingUp = isBehind
    ? lookUpPolicy(review, settings, reads, now, sentBy)
    : lookUpFor(review, outcome, view, reads)
  return lookingUp ? { lookingUp } : decisionOn(review, outcome, view)
}

function isSettled(outcome: Outcome): boolean {
  return (
    outcome.kind === 'LeftAlone' && (outcome.reason === 'MirrorPod' || outcome.reason === 'ExcludedNamespace')
  )
}

/** Whether the policy is known as the API server knew it, and to hold in the namespace, as the API server has found. */
function knows({ policies }: NamespaceView, { policy, revision }: SentBy): boolean {
  return policies.some(({ name, revision: known }) => name === policy && isUpTo(known, revision))
}

/** The same once more, after the looking up. There is no third time: what could not be found out is said. */
export function admitAfterLookUp(
  review: Review,
  { store, excludedNamespaces }: AdmissionSettings,
  { unchecked, policiesUnchecked }: LookedUp,
  now: number,
): Decision | Undecidable {
  const view = { ...store.view(review.namespace), unchecked }
  // While nobody knows which policies hold in the namespace, an enforced one could be left out.
  if (policiesUnchecked !== undefined) return { unavailable: policiesUnchecked }
  return decisionOn(review, inject({ pod: review.object, view, excludedNamespaces, now }), view)
}

function lookUpFor(
  { namespace, object }: Review,
  outcome: Outcome,
  view: NamespaceView,
  reads: DirectReads,
): Promise<LookedUp> | undefined {
  const names = namesMissing(outcome, object, view)
  if (names.length === 0 && reads.knowsNamespace(namespace)) return undefined
  return reads.lookUp(namespace, names)
}

/** The policy may be as new as the credentials that it names. */
async function lookUpPolicy(
  review: Review,
  { store, excludedNamespaces }: AdmissionSettings,
  reads: DirectReads,
  now: number,
  sentBy: SentBy,
): Promise<LookedUp> {
  const found = (await reads.lookUp(review.namespace, [], sentBy)) ?? NOTHING_UNCHECKED
  const view = store.view(review.namespace)
  const outcome = inject({ pod: review.object, view, excludedNamespaces, now })
  const names = namesMissing(outcome, review.object, view)
  if (found.policiesUnchecked !== undefined || names.length === 0) return found
  return reads.lookUp(review.namespace, names) ?? found
}

const NOTHING_UNCHECKED: LookedUp = { unchecked: new Map(), policiesUnchecked: undefined }

function decisionOn(review: Review, outcome: Outcome, view: NamespaceView): Decision {
  switch (outcome.kind) {
    case 'Denied':
      return { body: deny(review, outcome.problems, remarksOn(outcome)), outcome, view }
    case 'LeftAlone':
      return { body: allow(review, remarksOn(outcome)), outcome, view }
    case 'Injected':
      return { ...injected(review, outcome), outcome, view }
  }
}

function injected(
  review: Review,
  outcome: Extract<Outcome, { kind: 'Injected' }>,
): Pick<Decision, 'body' | 'patchBug'> {
  // Written down before it is tried: trying changes the operations' values along with the pod.
  const patchJson = JSON.stringify(outcome.patch)
  try {
    applyInPlace(review.object, outcome.patch)
  } catch (patchBug) {
    // API servers reject a pod for a patch that does not apply, whatever the failure policy says. It starts without, then.
    return { body: allow(review, PATCH_DROPPED), patchBug }
  }
  return { body: allowWithPatch(review, patchJson, remarksOn(outcome)) }
}

const PATCH_DROPPED: Remarks = {
  warnings: [
    'No credentials were injected, by a fault of credential-injector: please report it, with its log.',
  ],
  audit: { outcome: 'PatchDropped', credentials: '' },
}

const NOT_A_POD_CREATE: Remarks = {
  warnings: [],
  audit: { outcome: 'NotAPodCreate' satisfies LeftAloneReason, credentials: '' },
}

function remarksOn(outcome: Outcome): Remarks {
  return {
    warnings: outcome.warnings.length === 0 ? NO_WARNINGS : presentWarnings(outcome.warnings),
    audit: { outcome: auditedOutcome(outcome), credentials: namesOf(outcome.credentials) },
  }
}

const NO_WARNINGS: readonly string[] = []

/**
 * The API server may ask twice about one pod (reinvocation) and logs an error when the second answer has another audit value.
 * The second time everything is in place: that pod was injected all the same.
 */
function auditedOutcome(outcome: Outcome): string {
  if (outcome.kind !== 'LeftAlone') return outcome.kind
  const hasAll = outcome.reason === 'AlreadyInjected' && outcome.credentials.length > 0
  return hasAll ? 'Injected' : outcome.reason
}

/** `Credential/wandb-credentials,ClusterCredential/dockerhub`; without revisions, which may change between two rounds. */
function namesOf(credentials: readonly InjectedCredential[]): string {
  let names = ''
  for (const { kind, name } of credentials) names += names === '' ? `${kind}/${name}` : `,${kind}/${name}`
  return names
}
