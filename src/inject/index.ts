import { INJECT, MIRROR_POD } from '../annotations.ts'
import type { NamespaceView } from '../api/catalog.ts'
import type { Pod } from '../api/pod.ts'
import { type Claim, claimsOf, unknownNames } from './claims.ts'
import { credentialsInEffect, credentialsOf, grantsOf, recordOf } from './effects.ts'
import { Findings } from './findings.ts'
import type { Outcome } from './outcome.ts'
import { patchOf } from './patch.ts'
import { exceedsPod, planPod } from './plan.ts'
import { warnAboutCredentials } from './readiness.ts'
import { annotationField, type CredentialName, readRequest } from './request.ts'
import { targetsOf } from './targets.ts'

export type { Grant, InjectedCredential, Outcome, Problem, Warning } from './outcome.ts'
export { denialMessage, presentWarnings } from './present.ts'
export { podShapeProblem } from './shape.ts'

export interface InjectInput {
  /** A Pod, or a pod template seen as one (`{metadata, spec}`). It is only read. `podShapeProblem` must have found nothing. */
  pod: Pod
  /** What the pod's namespace has to offer. The namespace comes from the request, never from the pod. */
  view: NamespaceView
  /** Namespaces that are never touched. */
  excludedNamespaces: ReadonlySet<string>
  /** The time, in milliseconds since 1970: for `expiresAt`. */
  now: number
}

/**
 * What becomes of a pod: skip? → read the annotations → resolve the claims → plan, collecting every conflict → patch.
 * Pure; never throws for a pod of the right shape.
 */
export function inject({ pod, view, excludedNamespaces, now }: InjectInput): Outcome {
  if (pod.metadata?.annotations?.[MIRROR_POD] !== undefined) return leftAlone('MirrorPod')
  if (excludedNamespaces.has(view.namespace)) return leftAlone('ExcludedNamespace')

  const findings = new Findings()
  const targets = targetsOf(pod)
  const request = readRequest(
    pod,
    targets.map(({ container }) => container.name),
    view,
    findings,
  )
  const { claims, optedOut } = claimsOf(pod, request, view, findings)
  if (exceedsPod(claims, targets, view)) {
    findings.deny('InvalidAnnotation', annotationField(INJECT), TOO_MUCH)
    return denied(findings, claims)
  }
  const plan = planPod({ pod, targets, claims, selects: request.selects, mode: request.mode, view }, findings)
  warnAboutCredentials(claims, now, findings)

  if (findings.denied) return denied(findings, claims)
  const warnings = findings.warnings()
  if (claims.length === 0) return leftAlone(optedOut ? 'OptedOut' : 'NotAnnotated', warnings)

  const credentials = credentialsInEffect(claims, plan)
  const patch = patchOf(pod, plan, recordOf(credentials))
  const grants = () => grantsOf(plan)
  if (patch.length === 0)
    return { kind: 'LeftAlone', reason: 'AlreadyInjected', warnings, credentials, grants }
  return { kind: 'Injected', patch, warnings, credentials, grants }
}

/**
 * Names that the outcome would be another for if they existed: those of the pod, and of policies for it, that the view does not
 * have. Empty, at next to no cost, for nearly every pod. `outcome` is what `inject` made of the same pod and view.
 */
export function namesMissing(outcome: Outcome, pod: Pod, view: NamespaceView): CredentialName[] {
  const isMissing =
    (outcome.kind === 'Denied' && outcome.problems.some(({ reason }) => reason === 'CredentialNotFound')) ||
    outcome.warnings.some(({ reason }) => reason === 'LeftOut')
  return isMissing ? unknownNames(pod, readRequest(pod, [], view, new Findings()), view) : []
}

const TOO_MUCH =
  'so many credentials for so many containers are more than a pod can hold: name fewer, or select containers'

function denied(findings: Findings, claims: readonly Claim[]): Outcome {
  return {
    kind: 'Denied',
    problems: findings.problems(),
    warnings: findings.warnings(),
    credentials: credentialsOf(claims),
  }
}

function leftAlone(
  reason: 'MirrorPod' | 'ExcludedNamespace' | 'OptedOut' | 'NotAnnotated',
  warnings: Outcome['warnings'] = [],
): Outcome {
  return { kind: 'LeftAlone', reason, warnings, credentials: [], grants: () => [] }
}
