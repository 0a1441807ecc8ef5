/* The status of a policy: what it should be, and what is to be said. Pure; the status itself is the only memory. */
import { isDeepStrictEqual } from 'node:util'
import type { Condition, PolicyStatus } from '../../api/status.ts'
import { MOST_LISTED } from '../../api/status.ts'
import type { EventContent } from '../../kube/events.ts'
import { conditionOf, type Statement, transition, withConditions } from '../status/conditions.ts'
import type { PolicyFindings } from './assessment.ts'

/** Whether the API server sends the policy's pods to the webhook. */
export type EntryState =
  /** `isUnchecked`: it is enforced, but finished pods cannot be checked for it. */
  | { readonly kind: 'InEffect'; readonly isUnchecked?: boolean }
  /** `Pending`: about to be written, which is nothing to tell anybody of. */
  | { readonly kind: 'Pending' }
  | {
      readonly kind: 'NotInEffect'
      readonly reason:
        | 'NotUnderstood'
        | 'EntryRefused'
        | 'ConfigurationMissing'
        | 'RegistrationMissing'
        | 'NotWritten'
      readonly message: string
    }

export interface PolicyStatusInput {
  readonly name: string
  readonly generation: number
  /** Undefined for a policy that was never looked at. */
  readonly before: PolicyStatus | undefined
  readonly entry: Exclude<EntryState, { kind: 'Pending' }>
  /** Undefined for a policy that cannot be read. */
  readonly findings: PolicyFindings | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

export interface PolicyStatusPlan {
  /** Undefined when nothing has changed, so that nothing is written. */
  readonly status: PolicyStatus | undefined
  /** Only the number of pods is another: no reason to hurry. */
  readonly canWait: boolean
  /** What platform teams should hear of, once. */
  readonly events: readonly EventContent[]
}

export function planPolicyStatus(input: PolicyStatusInput): PolicyStatusPlan {
  const { before, generation, findings, now } = input
  const conditions = statements(input).map((statement) =>
    transition(
      conditionOf(before?.conditions, statement.type),
      { ...statement, observedGeneration: generation },
      now,
    ),
  )
  const status: PolicyStatus = {
    ...before,
    observedGeneration: generation,
    conditions: withConditions(before?.conditions, conditions),
    ...(findings && {
      namespaces: findings.namespaces,
      injectedPods: findings.injectedPods,
      conflicts: conflictsIn(input.name, findings),
    }),
  }
  if (status.conflicts === undefined) delete status.conflicts
  const isChanged = !isDeepStrictEqual(status, before)
  return {
    status: isChanged ? status : undefined,
    canWait:
      before !== undefined && isDeepStrictEqual({ ...status, injectedPods: before.injectedPods }, before),
    events: isChanged ? conditions.flatMap((condition) => eventOf(before, condition)) : [],
  }
}

/** A condition's message, and an event's, has at most so many characters. */
const MOST_MESSAGE = 1000
/** Of a list in a sentence. */
const MOST_NAMES = 5
const MOST_PARTS = 10

const UNCHECKED =
  ' Finished pods are not checked for it: its namespaceSelector has too many matchExpressions to say which namespaces are left out. Write fewer, or two policies.'

type Said = Omit<Statement, 'observedGeneration'>

function statements({ entry, findings }: PolicyStatusInput): Said[] {
  return [readiness(entry), ...(findings ? [availability(findings), agreement(findings)] : [])]
}

function readiness(entry: PolicyStatusInput['entry']): Said {
  if (entry.kind === 'InEffect') {
    const message = `The API server sends the pods that the policy selects to the webhook.${entry.isUnchecked ? UNCHECKED : ''}`
    return { type: 'Ready', status: 'True', reason: 'InEffect', message }
  }
  return { type: 'Ready', status: 'False', reason: entry.reason, message: clip(entry.message) }
}

function availability({ missing, namespaces }: PolicyFindings): Said {
  const type = 'CredentialsFound'
  if (missing.size === 0) {
    const message =
      namespaces === 0
        ? 'The policy selects no namespace at present.'
        : 'Each selected namespace has all that the policy names.'
    return { type, status: 'True', reason: 'AllFound', message }
  }
  const parts = [...missing].slice(0, MOST_PARTS).map(([name, places]) => missingSentence(name, places))
  return { type, status: 'False', reason: 'CredentialNotFound', message: clip(parts.join(' ')) }
}

function missingSentence(written: string, namespaces: readonly string[]): string {
  const name = written.replace(/^cluster\//, '')
  const more = namespaces.length > MOST_NAMES ? ` and ${namespaces.length - MOST_NAMES} more` : ''
  const where = `${namespaces.slice(0, MOST_NAMES).join(', ')}${more}`
  const places = `${namespaces.length === 1 ? 'namespace' : 'namespaces'} ${where}`
  return written === name
    ? `No Credential ${name} that can be used, nor a ClusterCredential ${name} that is offered there, exists in ${places}.`
    : `No ClusterCredential ${name} that can be used is offered to ${places}.`
}

function agreement({ conflicts }: PolicyFindings): Said {
  const type = 'Compatible'
  if (conflicts.size === 0) {
    const message = 'No other enforced policy contradicts it.'
    return { type, status: 'True', reason: 'NoConflict', message }
  }
  const others = [...conflicts.keys()].sort()
  const more = others.length > MOST_NAMES ? ` and ${others.length - MOST_NAMES} more` : ''
  const message = `Pods that both select are refused: it cannot hold together with ${others.slice(0, MOST_NAMES).join(', ')}${more}. See status.conflicts.`
  return { type, status: 'False', reason: 'PolicyConflict', message: clip(message) }
}

function conflictsIn(name: string, { conflicts }: PolicyFindings): PolicyStatus['conflicts'] {
  if (conflicts.size === 0) return undefined
  return [...conflicts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, MOST_LISTED)
    .map(([policy, [first = '', ...others]]) => {
      const more = others.length === 0 ? '' : ` (and ${others.length} more)`
      const itself = policy === name ? 'The policy contradicts itself: ' : ''
      return { policy, message: clip(`${itself}${first}${more}`) }
    })
}

function clip(message: string): string {
  return message.length <= MOST_MESSAGE ? message : `${message.slice(0, MOST_MESSAGE - 1)}…`
}

/** Once for each time that something ceases to be in order. */
function eventOf(
  before: PolicyStatus | undefined,
  { type, status, reason, message }: Condition,
): EventContent[] {
  const was = conditionOf(before?.conditions, type)
  const isNews = status === 'False' && (was?.status !== 'False' || was.reason !== reason)
  return isNews ? [{ type: 'Warning', reason, message }] : []
}
