import type { LabelSelector } from '../../api/schema.ts'

type Requirement = NonNullable<LabelSelector['matchExpressions']>[number]

/** What all requirements on one label come to. */
interface Demand {
  mustBe: 'present' | 'absent' | 'contradicted' | undefined
  /** It has one of these; undefined where no requirement lists any. */
  oneOf: ReadonlySet<string> | undefined
  readonly noneOf: Set<string>
}

/**
 * Labels that satisfy all of the selectors, as few as will do; undefined if there are none. Requirements on different labels have
 * nothing to do with each other, so each label is decided by itself.
 */
export function commonLabels(selectors: readonly LabelSelector[]): Record<string, string> | undefined {
  const demands = new Map<string, Demand>()
  for (const requirement of selectors.flatMap(requirementsOf)) {
    const demand = demands.get(requirement.key) ?? { mustBe: undefined, oneOf: undefined, noneOf: new Set() }
    demands.set(requirement.key, demand)
    add(demand, requirement)
  }
  const labels: Record<string, string> = {}
  for (const [key, { mustBe, oneOf, noneOf }] of demands) {
    if (mustBe === 'contradicted') return undefined
    if (mustBe !== 'present') continue
    const value = oneOf === undefined ? otherThan(noneOf) : [...oneOf].find((one) => !noneOf.has(one))
    if (value === undefined) return undefined
    labels[key] = value
  }
  return labels
}

function requirementsOf({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Requirement[] {
  const equal = Object.entries(matchLabels).map(([key, value]) => ({
    key,
    operator: 'In' as const,
    values: [value],
  }))
  return [...equal, ...matchExpressions]
}

function add(demand: Demand, { operator, values = [] }: Requirement): void {
  if (operator === 'NotIn') {
    // Holds where the label is absent, too.
    for (const value of values) demand.noneOf.add(value)
    return
  }
  const wanted = operator === 'DoesNotExist' ? 'absent' : 'present'
  demand.mustBe = (demand.mustBe ?? wanted) === wanted ? wanted : 'contradicted'
  if (operator !== 'In') return
  const known = demand.oneOf
  demand.oneOf = new Set(known === undefined ? values : values.filter((value) => known.has(value)))
}

/** So many values cannot all be excluded. */
function otherThan(excluded: ReadonlySet<string>): string | undefined {
  const candidates = Array.from({ length: excluded.size + 1 }, (_, index) => `any-${index}`)
  return candidates.find((value) => !excluded.has(value))
}
