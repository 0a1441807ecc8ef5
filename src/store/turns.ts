/** Who wants something of which there is only so much at a time, and waits until it is his turn. */
export interface Turns {
  /** Undefined if too many wait already. Resolves with what is to be called when it is done. */
  take(from: string): Promise<() => void> | undefined
}

interface TurnsLimits {
  /** At a time. */
  readonly active: number
  /** Waiting, of all together. */
  readonly waiting: number
  /** Waiting, of one. */
  readonly waitingOfOne: number
}

type Start = () => void

/** Those who wait take turns, so that one who wants much is only in his own way. */
export function createTurns({ active: most, waiting, waitingOfOne }: TurnsLimits): Turns {
  /** Who has had no turn for the longest comes first. */
  const queues = new Map<string, Start[]>()
  let active = 0
  let inQueues = 0

  return {
    take(from) {
      if (active < most) {
        active++
        return Promise.resolve(done)
      }
      const queue = queues.get(from) ?? []
      if (inQueues >= waiting || queue.length >= waitingOfOne) return undefined
      inQueues++
      queues.set(from, queue)
      return new Promise((resolve) => queue.push(() => resolve(done)))
    },
  }

  function done(): void {
    const [next] = queues
    if (next === undefined) {
      active--
      return
    }
    const [from, queue] = next
    const start = queue.shift()
    inQueues--
    queues.delete(from)
    if (queue.length > 0) queues.set(from, queue)
    start?.()
  }
}
