/**
 * Whether version `a` of an object, or of a collection, is later than `b` of the same kind; undefined when that cannot be said.
 * They are numbers in decimal digits, compared without becoming numbers: they may have more digits than those keep
 * (Kubernetes API concepts, "Resource versions": comparable within a kind).
 */
export function isLater(a: string | undefined, b: string | undefined): boolean | undefined {
  if (a === b) return a === undefined ? undefined : false
  if (!isNumber(a) || !isNumber(b)) return undefined
  return a.length === b.length ? a > b : a.length > b.length
}

function isNumber(version: string | undefined): version is string {
  return version !== undefined && /^(0|[1-9]\d*)$/.test(version)
}
