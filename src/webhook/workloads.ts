import { isDeepStrictEqual } from 'node:util'
import type { FastifyReply } from 'fastify'
import { PREFIX, RESTART_PAUSED } from '../annotations.ts'
import type { LookedUp, WantedName } from '../api/catalog.ts'
import type { Pod } from '../api/pod.ts'
import { type PodPlace, podOf } from '../api/pod-places.ts'
import { inject, namesMissing, type Outcome, podShapeProblem, presentWarnings } from '../inject/index.ts'
import type { Refuse } from '../process/errors.ts'
import type { AdmissionSettings } from './admission.ts'
import { allow } from './answers.ts'
import { reviewIn } from './judge.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Review } from './review.ts'

export const WORKLOAD_PATH = '/check/workloads'

/** What became of a check: there was nothing to say, there was, it was not called for, or the object is not understood. */
export type CheckOutcome = 'Clean' | 'Warned' | 'Skipped' | 'NotUnderstood'

export const CHECK_OUTCOMES: readonly CheckOutcome[] = ['Clean', 'Warned', 'Skipped', 'NotUnderstood']

/** Something that the pods of a workload will be refused for, or warned about. */
export interface CheckFinding {
  readonly reason: string
  readonly message: string
}

export interface Check {
  readonly outcome: CheckOutcome
  /** The most important first. */
  readonly findings: readonly CheckFinding[]
  /** Names that the store does not have; undefined where nothing was looked at. */
  readonly missing?: readonly WantedName[]
}

interface Checker {
  readonly admission: AdmissionSettings
  readonly refuse: Refuse
  readonly metrics: Metrics
  readonly log: Log
}

/**
 * Answers a review of a workload: whoever applies it is told at once what its pods will be refused for, instead of minutes
 * later in an event. Nothing is ever denied or changed here, so what cannot be understood is allowed without a word.
 */
export function createWorkloadCheck({ admission, refuse, metrics, log }: Checker) {
  return (body: Buffer, reply: FastifyReply): void => {
    const review = reviewIn(body)
    if ('status' in review) return void refuse(reply, review)
    const check = attempt(review)
    const lookingUp = lookUpFor(review, check)
    if (lookingUp) void lookingUp.then(({ unchecked }) => answer(review, attempt(review, unchecked), reply))
    else answer(review, check, reply)
  }

  /** A workload and its credential may come with one `kubectl apply`: what is missing may only not have been heard of. */
  function lookUpFor({ namespace }: Review, { missing }: Check): Promise<LookedUp> | undefined {
    const { reads } = admission
    if (!reads || !missing || (missing.length === 0 && reads.knowsNamespace(namespace))) return undefined
    return reads.lookUp(namespace, missing)
  }

  function answer(review: Review, check: Check, reply: FastifyReply): void {
    metrics.checked(check)
    const warnings = presentWarnings(check.findings)
    const body = allow(review, { warnings, audit: { outcome: check.outcome, credentials: '' } })
    reply.header('content-type', 'application/json; charset=utf-8').send(body)
  }

  function attempt(review: Review, unchecked?: LookedUp['unchecked']): Check {
    try {
      return checkWorkload(review, admission, Date.now(), unchecked)
    } catch (error) {
      metrics.crashed()
      log.crashed(review.uid, error)
      return NOT_UNDERSTOOD
    }
  }
}

const NOT_UNDERSTOOD: Check = { outcome: 'NotUnderstood', findings: [] }
const SKIPPED: Check = { outcome: 'Skipped', findings: [] }
/** What is wrong with the pods that a workload will make. Pure; `now` in milliseconds since 1970. */
export function checkWorkload(
  review: Review,
  { store, excludedNamespaces }: AdmissionSettings,
  now: number,
  unchecked?: LookedUp['unchecked'],
): Check {
  const { namespace, request } = review
  const place = podOf(request.object)
  // A pod itself is none: it is judged where it is created.
  if (place === undefined || place.templatePath.length === 0 || namespace === '') return NOT_UNDERSTOOD
  if (!isWanted(request, place)) return SKIPPED
  if (podShapeProblem(place.pod) !== undefined) return NOT_UNDERSTOOD

  const pod = place.pod as Pod
  const view = { ...store.view(namespace), unchecked }
  const outcome = inject({ pod, view, excludedNamespaces, now })
  const findings = [
    ...findingsOf(outcome).map((finding) => withoutNamespace(finding, namespace)),
    ...misplaced(request.object as Workload, place, pod),
  ]
  const missing = namesMissing(outcome, pod, view)
  return { outcome: findings.length === 0 ? 'Clean' : 'Warned', findings, missing }
}

// ---- What is looked at -----------------------------------------------------------------------------------------------

type Fields = Readonly<Record<string, unknown>>

interface Workload {
  readonly metadata?: {
    readonly annotations?: Readonly<Record<string, unknown>> | null
    readonly ownerReferences?: readonly { readonly controller?: unknown }[] | null
  } | null
}

/** A new workload, or one whose pods will be others than before: a change of `replicas` is no news of its credentials. */
function isWanted({ operation, subResource, object, oldObject }: Fields, place: PodPlace): boolean {
  if (subResource) return false
  if (isMadeByAnother(object as Workload, place)) return false
  if (operation === 'CREATE') return true
  return operation === 'UPDATE' && !isDeepStrictEqual(whatCounts(object), whatCounts(oldObject))
}

/** The ReplicaSets of Deployments and the Jobs of CronJobs: their owner was looked at, and nobody reads their warnings. */
function isMadeByAnother({ metadata }: Workload, { kind }: PodPlace): boolean {
  const owners = metadata?.ownerReferences
  if (!Array.isArray(owners) || (kind !== 'ReplicaSet' && kind !== 'Job')) return false
  return owners.some((owner) => owner?.controller === true)
}

function whatCounts(object: unknown): unknown {
  const pod = podOf(object)?.pod
  return [pod, ownKeys((object ?? {}) as Workload)]
}

// ---- What is said about it -------------------------------------------------------------------------------------------

/** What refuses the pods stands before what they are only warned about. */
function findingsOf(outcome: Outcome): CheckFinding[] {
  return outcome.kind === 'Denied' ? [...outcome.problems, ...outcome.warnings] : outcome.warnings
}

/** Who applies a workload knows where. A warning has room for 120 characters, and the name that was meant stands last. */
function withoutNamespace({ reason, message }: CheckFinding, namespace: string): CheckFinding {
  return { reason, message: message.replace(` in namespace ${namespace}`, '') }
}

/** Annotations of the workload itself reach no pod. Some tools write them to both places, which is no mistake. */
function misplaced(workload: Workload, { kind, templatePath }: PodPlace, { metadata }: Pod): CheckFinding[] {
  return ownKeys(workload)
    .filter((key) => metadata?.annotations?.[key] === undefined)
    .map((key) => ({
      reason: 'UnknownAnnotation',
      message: `${key} on a ${kind} reaches no pod: write it at ${templatePath.join('.')}.metadata`,
    }))
}

/** The one that is meant for the workload itself is not among them. */
function ownKeys({ metadata }: Workload): string[] {
  const annotations = metadata?.annotations
  if (typeof annotations !== 'object' || annotations === null) return []
  return Object.keys(annotations).filter((key) => key.startsWith(PREFIX) && key !== RESTART_PAUSED)
}
