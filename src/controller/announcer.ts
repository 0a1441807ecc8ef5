/** Tells of changes that come in crowds: at once after a while without any, and then at most once in each interval. */
export interface Announcer {
  announce(key: string): void
  /** Announces nothing any more. */
  stop(): void
}

/** `interval` in milliseconds. What changes while an interval runs is told when it ends. */
export function createAnnouncer(tell: (key: string) => void, interval: number): Announcer {
  /** By key: the interval that runs, and whether there is something to tell at its end. */
  const running = new Map<string, { timer: NodeJS.Timeout; isDue: boolean }>()
  return {
    announce(key) {
      const its = running.get(key)
      if (its) its.isDue = true
      else begin(key)
    },
    stop() {
      for (const { timer } of running.values()) clearTimeout(timer)
      running.clear()
    },
  }

  function begin(key: string): void {
    running.set(key, { timer: setTimeout(() => end(key), interval).unref(), isDue: false })
    tell(key)
  }

  function end(key: string): void {
    const isDue = running.get(key)?.isDue ?? false
    running.delete(key)
    if (isDue) begin(key)
  }
}
