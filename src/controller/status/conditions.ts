import type { Condition } from '../../api/status.ts'

/** A condition without what follows from the one before it. */
export type Statement = Omit<Condition, 'lastTransitionTime'>

/** The time of the change moves only when `status` does: neither another reason nor another sentence is a transition. */
export function transition(before: Condition | undefined, statement: Statement, now: number): Condition {
  const since = before?.status === statement.status ? before.lastTransitionTime : undefined
  return { ...statement, lastTransitionTime: since ?? timeOf(now) }
}

export function conditionOf(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type)
}

/** Those of the same type in their places, new ones at the end, and what others have written as it is. */
export function withConditions(before: readonly Condition[] = [], ours: readonly Condition[]): Condition[] {
  const kept = before.map((condition) => conditionOf(ours, condition.type) ?? condition)
  return [...kept, ...ours.filter(({ type }) => conditionOf(before, type) === undefined)]
}

/** RFC 3339 in whole seconds, as Kubernetes writes times. */
export function timeOf(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`
}
