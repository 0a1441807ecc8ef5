import { didYouMean, nearest } from '../api/nearest.ts'

const CLUSTER = 'cluster/'

/**
 * `; did you mean "X"?` for what was written as a credential's name, or nothing. `names` are those on offer, as they may be
 * written. The prefix `cluster/` is not compared: it does not make two names alike.
 */
export function suggestion(written: string, names: readonly string[]): string {
  if (!written.startsWith(CLUSTER)) return didYouMean(written, bare(names))
  const name = written.slice(CLUSTER.length)
  if (names.includes(name)) return `; did you mean "${name}"?`
  const found = nearest(name, bare(names.filter((candidate) => candidate.startsWith(CLUSTER))))
  return found === undefined ? '' : `; did you mean "${CLUSTER}${found}"?`
}

function bare(names: readonly string[]): string[] {
  return names.map((name) => name.replace(CLUSTER, ''))
}
