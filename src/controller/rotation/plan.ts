/*
 * Whether a workload is to be restarted. Pure.
 *
 *     a pod is stale ── nobody asks for restarts ─────────────────► nothing: it is reported, that is all
 *           │
 *           └─ Automatic, or the template's annotation ── the Secret changed a moment ago ──► wait until it has settled
 *                       │
 *                       └─ settled ── the template's record has that rotation ──────────────► nothing: it is done
 *                                 │── an earlier template's has it: it was rolled back ─────► held, for good
 *                                 │── paused, OnDelete ─────────────────────────────────────► held, until that changes
 *                                 └─ none of these ─────────────────────────────────────────► restart
 */
import type { Workload } from '../watched/owners.ts'
import { RESTART_REASONS, type RestartReason } from './reasons.ts'
import { itemOf, type Rotation, recordWith, rotationsIn } from './record.ts'
import type { WorkloadState } from './workload.ts'

/** A workload with pods that run with variables from before a rotation. */
export interface StaleWorkload {
  readonly workload: Workload
  /** What its stale pods' templates say about restarts, each of them once. */
  readonly wishes: ReadonlySet<boolean | undefined>
  readonly rotations: readonly StaleRotation[]
}

/** The last rotation of a credential that its pods have not got yet. */
export interface StaleRotation extends Rotation {
  /** `spec.rotation.restart: Automatic` of the credential. */
  readonly isAutomatic: boolean
}

/** What the workload may have to be restarted for. The template has the last word, and is not known yet. */
export function askedFor({ wishes, rotations }: StaleWorkload): readonly StaleRotation[] {
  return rotations.filter((rotation) => [...wishes].some((wish) => isAsked(rotation, wish)))
}

function isAsked({ isAutomatic }: StaleRotation, wish: boolean | undefined): boolean {
  return wish ?? isAutomatic
}

/** When these rotations have settled, in milliseconds since 1970: several edits are one restart. */
export function settledAt(rotations: readonly Rotation[], settle: number): number {
  return Math.max(...rotations.map(({ at }) => Date.parse(at))) + settle
}

export type Plan =
  | { readonly do: 'nothing' }
  | Hold
  | {
      readonly do: 'restart'
      /** What is to be written to the template's record. */
      readonly record: string
      readonly rotations: readonly Rotation[]
      readonly message: string
    }

/** It should be restarted and cannot be. */
export interface Hold {
  readonly do: 'hold'
  readonly reason: RestartReason
  /** Only another rotation will change it. */
  readonly isFinal: boolean
  readonly message: string
}

const NOTHING: Plan = { do: 'nothing' }

export interface PlanInput {
  readonly state: WorkloadState
  /** Settled ones. */
  readonly asked: readonly StaleRotation[]
  /** Restarts of all workloads are paused. */
  readonly isPaused: boolean
  /** Records of templates that the workload had. */
  readonly earlier: readonly string[]
}

export function planRestart({ state, asked, isPaused, earlier }: PlanInput): Plan {
  const open = openRotations(state, asked)
  if (open.length === 0) return NOTHING
  const undone = new Set(earlier.flatMap(rotationsIn).map(itemOf))
  const rotations = open.filter((rotation) => !undone.has(itemOf(rotation)))
  if (rotations.length === 0) return held('RestartUndone', open, true)
  const hold = isPaused ? 'RestartPaused' : state.hold
  if (hold !== undefined) return held(hold, rotations, false)
  return {
    do: 'restart',
    record: recordWith(state.record, open),
    rotations: open,
    message: `Restarted, since the content of ${namesOf(open)} has changed.`,
  }
}

/** Those that the template wants and that are not recorded in it. */
export function openRotations(
  { wish, record }: WorkloadState,
  asked: readonly StaleRotation[],
): readonly StaleRotation[] {
  const done = new Set(rotationsIn(record).map(itemOf))
  return asked.filter((rotation) => isAsked(rotation, wish) && !done.has(itemOf(rotation)))
}

export function held(reason: RestartReason, rotations: readonly Rotation[], isFinal: boolean): Hold {
  const message = `Not restarted, though the content of ${namesOf(rotations)} has changed. ${sentences(reason)}`
  return { do: 'hold', reason, isFinal, message }
}

export function sentences(reason: RestartReason): string {
  const { title, remedy } = RESTART_REASONS[reason]
  return `${title} ${remedy}`
}

const MOST_NAMED = 3

export function namesOf(rotations: readonly Rotation[]): string {
  const names = rotations.map(({ credential }) => credential)
  const more = names.length - MOST_NAMED
  return more > 0 ? `${names.slice(0, MOST_NAMED).join(', ')} and ${more} more` : names.join(', ')
}
