/**
 * Which workloads are being rolled out at present, and which wait for that: only so many at once, and if so asked only one of a
 * namespace. The next one is of the namespace that has the fewest of them under way, and of several such of the one that began
 * something the longest time ago: however many a namespace has, and however slow they are, the others need not wait for them all.
 */
export interface Turns {
  /** True if it may begin, or has begun; else it waits in line, and `onTurn` is called when it should ask again. */
  take(key: string, namespace: string): boolean
  /** It is being rolled out already, whatever the limits say. */
  found(key: string, namespace: string): void
  /** It is done, or need not be done any more: somebody else's turn. */
  end(key: string): void
  has(key: string): boolean
  underWay(): number
  waiting(): number
}

interface TurnSettings {
  readonly atOnce: number
  readonly onePerNamespace: boolean
  readonly onTurn: (key: string) => void
}

export function createTurns({ atOnce, onePerNamespace, onTurn }: TurnSettings): Turns {
  /** Keys with their namespaces. */
  const running = new Map<string, string>()
  const waiting = new Map<string, string>()
  /** Those that wait, in the order in which they came; the namespace that began something last stands last. */
  const line = new Map<string, Set<string>>()

  return {
    take(key, namespace) {
      if (running.has(key)) return true
      join(key, namespace)
      const isNext = next().includes(key)
      if (isNext) begin(key, namespace)
      callNext()
      return isNext
    },
    found(key, namespace) {
      begin(key, namespace)
      callNext()
    },
    end(key) {
      running.delete(key)
      leave(key)
      callNext()
    },
    has: (key) => running.has(key),
    underWay: () => running.size,
    waiting: () => waiting.size,
  }

  function join(key: string, namespace: string): void {
    waiting.set(key, namespace)
    line.set(namespace, (line.get(namespace) ?? new Set()).add(key))
  }

  function leave(key: string): void {
    const namespace = waiting.get(key)
    if (namespace === undefined) return
    waiting.delete(key)
    const its = line.get(namespace)
    its?.delete(key)
    if (its?.size === 0) line.delete(namespace)
  }

  function begin(key: string, namespace: string): void {
    leave(key)
    running.set(key, namespace)
    const others = line.get(namespace)
    if (others === undefined) return
    line.delete(namespace)
    line.set(namespace, others)
  }

  /** As many of the line as there is room for. */
  function next(): string[] {
    const room = atOnce - running.size
    if (room <= 0 || line.size === 0) return []
    const counts = countsOf(running.values())
    const chosen = new Set<string>()
    for (let count = 0; count < room; count++) {
      const namespace = fewest(chosen, counts)
      const key = namespace && firstIn(namespace, chosen)
      if (!namespace || !key) break
      chosen.add(key)
      counts.set(namespace, (counts.get(namespace) ?? 0) + 1)
    }
    return [...chosen]
  }

  /** The namespace with the fewest under way that has any besides these in the line. */
  function fewest(besides: ReadonlySet<string>, counts: ReadonlyMap<string, number>): string | undefined {
    let best: string | undefined
    let least = onePerNamespace ? 1 : Number.POSITIVE_INFINITY
    for (const namespace of line.keys()) {
      const count = counts.get(namespace) ?? 0
      if (count >= least || firstIn(namespace, besides) === undefined) continue
      best = namespace
      least = count
      if (count === 0) break
    }
    return best
  }

  function firstIn(namespace: string, besides: ReadonlySet<string>): string | undefined {
    for (const key of line.get(namespace) ?? []) if (!besides.has(key)) return key
    return undefined
  }

  /** They keep their places until they take their turn. */
  function callNext(): void {
    for (const key of next()) onTurn(key)
  }
}

function countsOf(namespaces: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const namespace of namespaces) counts.set(namespace, (counts.get(namespace) ?? 0) + 1)
  return counts
}
