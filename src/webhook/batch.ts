/**
 * Hands over what arrives during one turn of the event loop together, in order, in groups whose sizes add up to at most
 * `room`. What would fill more than half of that is handed over at once, alone.
 *
 * Why: a review takes the processor through the TLS library, HTTP, the JSON parser, the engine and the log, more code and
 * data than its caches hold. One review after the other, each step finds the caches full of the other steps. A few reviews
 * together, step by step, find them warm: measured, a quarter less processor time. A review that is alone waits for nothing.
 */
export function inBatches<T>(
  sizeOf: (item: T) => number,
  room: number,
  handle: (batch: readonly T[]) => void,
): (item: T) => void {
  let waiting: T[] = []
  const handleAll = () => {
    const arrived = waiting
    waiting = []
    for (const batch of groups(arrived, sizeOf, room)) handle(batch)
  }
  return (item) => {
    if (sizeOf(item) > room / 2) handle([item])
    // Immediates come after all the input of this turn and before that of the next.
    else if (waiting.push(item) === 1) setImmediate(handleAll)
  }
}

function* groups<T>(items: readonly T[], sizeOf: (item: T) => number, room: number): Generator<readonly T[]> {
  let start = 0
  let size = 0
  for (let index = 0; index < items.length; index++) {
    const next = sizeOf(items[index] as T)
    if (size + next > room) {
      yield items.slice(start, index)
      start = index
      size = 0
    }
    size += next
  }
  if (start < items.length) yield items.slice(start)
}
