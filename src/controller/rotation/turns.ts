/**
 * Which workloads are being rolled out at present, and which wait for that: only so many at once, and if so asked only one of a
 * namespace.
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
  /** Keys with their namespaces; those that wait in the order in which they came. */
  const running = new Map<string, string>()
  const line = new Map<string, string>()

  return {
    take(key, namespace) {
      if (running.has(key)) return true
      if (!hasRoom(namespace)) {
        if (!line.has(key)) line.set(key, namespace)
        return false
      }
      begin(key, namespace)
      return true
    },
    found: begin,
    end(key) {
      running.delete(key)
      line.delete(key)
      callNext()
    },
    has: (key) => running.has(key),
    underWay: () => running.size,
    waiting: () => line.size,
  }

  function begin(key: string, namespace: string): void {
    line.delete(key)
    running.set(key, namespace)
  }

  function hasRoom(namespace: string): boolean {
    if (running.size >= atOnce) return false
    return !onePerNamespace || ![...running.values()].includes(namespace)
  }

  /** As many as there is room for; they keep their places until they take their turn. */
  function callNext(): void {
    const called = new Set<string>()
    let room = atOnce - running.size
    for (const [key, namespace] of line) {
      if (room <= 0) return
      if (!hasRoom(namespace) || (onePerNamespace && called.has(namespace))) continue
      called.add(namespace)
      room--
      onTurn(key)
    }
  }
}
