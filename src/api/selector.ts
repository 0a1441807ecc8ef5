import type { LabelSelector } from './schema.ts'

type Labels = Readonly<Record<string, string>>
type Requirement = NonNullable<LabelSelector['matchExpressions']>[number]

/**
 * Whether labels satisfy a selector, as Kubernetes decides it (meta/v1 LabelSelector): all requirements must hold, an
 * empty selector selects everything, and `NotIn` also holds where the label is absent.
 */
export function matchesSelector(selector: LabelSelector, labels: Labels | null | undefined): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector
  const present = labels ?? {}
  return (
    Object.entries(matchLabels).every(([key, value]) => labelOf(present, key) === value) &&
    matchExpressions.every((requirement) => holds(requirement, labelOf(present, requirement.key)))
  )
}

function holds({ operator, values = [] }: Requirement, label: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return label !== undefined && values.includes(label)
    case 'NotIn':
      return label === undefined || !values.includes(label)
    case 'Exists':
      return label !== undefined
    case 'DoesNotExist':
      return label === undefined
  }
}

/** Labels come from requests: a key such as `constructor` must not find what every object inherits. */
function labelOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}
