/** A line of a unified diff: kept, added or removed. */
export interface DiffLine {
  sign: ' ' | '+' | '-'
  text: string
}

/** The shortest way from one list of lines to another (longest common subsequence); for texts of up to some thousand lines. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  const common = commonLengths(before, after)
  const lines: DiffLine[] = []
  let [b, a] = [0, 0]
  while (b < before.length || a < after.length) {
    const [old, new_] = [before[b], after[a]]
    if (old !== undefined && old === new_) {
      lines.push({ sign: ' ', text: old })
      b++
      a++
    } else if (old !== undefined && (new_ === undefined || at(common, b + 1, a) >= at(common, b, a + 1))) {
      lines.push({ sign: '-', text: old })
      b++
    } else {
      lines.push({ sign: '+', text: new_ as string })
      a++
    }
  }
  return lines
}

/** Lengths of the longest common subsequence of what follows each pair of positions. */
function commonLengths(before: readonly string[], after: readonly string[]): number[][] {
  const lengths = Array.from({ length: before.length + 1 }, () => new Array<number>(after.length + 1).fill(0))
  for (let b = before.length - 1; b >= 0; b--) {
    const row = lengths[b] as number[]
    for (let a = after.length - 1; a >= 0; a--) {
      row[a] =
        before[b] === after[a]
          ? at(lengths, b + 1, a + 1) + 1
          : Math.max(at(lengths, b + 1, a), at(lengths, b, a + 1))
    }
  }
  return lengths
}

const at = (lengths: readonly number[][], b: number, a: number) => lengths[b]?.[a] ?? 0
