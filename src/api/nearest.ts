/**
 * The candidate that was most probably meant, or undefined when none is near: at most a third of the word's letters
 * differ (an exchange of two neighbours counts once, upper and lower case do not count), or the word is the beginning
 * of just one candidate.
 */
export function nearest<Name extends string>(word: string, candidates: readonly Name[]): Name | undefined {
  const wanted = word.toLowerCase()
  let limit = Math.min(4, Math.max(1, Math.floor(wanted.length / 3)))
  let best: Name | undefined
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase(), limit)
    if (distance > limit || (distance === limit && best !== undefined)) continue
    best = candidate
    limit = distance
    if (distance === 0) return best
  }
  return best ?? onlyContinuation(wanted, candidates)
}

/** `; did you mean "X"?`, or nothing: ready to be put behind a sentence. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const found = nearest(word, candidates)
  return found === undefined ? '' : `; did you mean "${found}"?`
}

function onlyContinuation<Name extends string>(
  wanted: string,
  candidates: readonly Name[],
): Name | undefined {
  if (wanted.length < 3) return undefined
  const longer = candidates.filter((candidate) => candidate.toLowerCase().startsWith(wanted))
  return longer.length === 1 ? longer[0] : undefined
}

/** Optimal string alignment distance; anything above `limit` is reported as `limit + 1`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    let smallest = i
    for (let j = 1; j <= b.length; j++) {
      row[j] = cell(a, b, i, j, row, last, beforeLast)
      smallest = Math.min(smallest, row[j] as number)
    }
    if (smallest > limit) return limit + 1
    beforeLast = last
    last = row
  }
  return last[b.length] as number
}

function cell(
  a: string,
  b: string,
  i: number,
  j: number,
  row: number[],
  last: number[],
  beforeLast: number[],
): number {
  const same = a[i - 1] === b[j - 1]
  const distance = Math.min(
    (last[j] as number) + 1,
    (row[j - 1] as number) + 1,
    (last[j - 1] as number) + (same ? 0 : 1),
  )
  const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
  return swapped ? Math.min(distance, (beforeLast[j - 2] as number) + 1) : distance
}
