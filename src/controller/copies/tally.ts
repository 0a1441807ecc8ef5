/** How far the copies of each ClusterCredential are, counted as they change: there may be tens of thousands. */
import type { CopyState } from './metrics.ts'

/** Why a namespace has no copy. */
export interface Failure {
  readonly reason: string
  readonly message: string
}

export interface Tally {
  /** Undefined: none is wanted there. Returns whether this is news. */
  set(credential: string, namespace: string, state: CopyState | undefined, failure?: Failure): boolean
  get(credential: string, namespace: string): CopyState | undefined
  /** Namespaces that have, or should have, a copy. */
  namespaces(credential: string): Iterable<string>
  count(credential: string, state: CopyState): number
  /** By namespace, in order of name. */
  failures(credential: string): (Failure & { readonly namespace: string })[]
  total(): Record<CopyState, number>
}

interface Entry {
  readonly state: CopyState
  readonly failure: Failure | undefined
}

export function createTally(): Tally {
  const entries = new Map<string, Map<string, Entry>>()
  const counts = new Map<string, Record<CopyState, number>>()
  return {
    set(credential, namespace, state, failure) {
      const its = entries.get(credential) ?? new Map<string, Entry>()
      const count = counts.get(credential) ?? nothing()
      const before = its.get(namespace)
      if (before?.state === state && before?.failure?.message === failure?.message) return false
      if (before) count[before.state]--
      if (state) {
        its.set(namespace, { state, failure })
        count[state]++
      } else its.delete(namespace)
      if (its.size === 0) {
        entries.delete(credential)
        counts.delete(credential)
      } else {
        entries.set(credential, its)
        counts.set(credential, count)
      }
      return true
    },
    get: (credential, namespace) => entries.get(credential)?.get(namespace)?.state,
    namespaces: (credential) => [...(entries.get(credential)?.keys() ?? [])],
    count: (credential, state) => counts.get(credential)?.[state] ?? 0,
    failures: (credential) =>
      [...(entries.get(credential) ?? [])]
        .flatMap(([namespace, { failure }]) => (failure ? [{ namespace, ...failure }] : []))
        .sort((a, b) => (a.namespace < b.namespace ? -1 : 1)),
    total() {
      const sum = nothing()
      for (const count of counts.values())
        for (const state of Object.keys(sum) as CopyState[]) sum[state] += count[state]
      return sum
    },
  }
}

export function nothing(): Record<CopyState, number> {
  return { right: 0, waiting: 0, failed: 0 }
}
