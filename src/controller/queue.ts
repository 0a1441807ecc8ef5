import { backoff } from '../kube/backoff.ts'
import { KubeError } from '../kube/client.ts'
import { type Clock, SYSTEM_CLOCK } from '../kube/clock.ts'

/**
 * Work that is known by a key. However often a key is added, it is worked on once more and never by two at a time. What fails is
 * tried again after a wait that grows.
 */
export interface WorkQueue {
  add(key: string): void
  /** Before all that only wait. */
  addFirst(key: string): void
  /** Adds the key at that time, in milliseconds since 1970. Replaces an earlier time for it; undefined takes it back. */
  addAt(key: string, time: number | undefined): void
  /** Keys that wait or are worked on. */
  depth(): number
  /** Resolves when there is nothing to do: neither waiting nor being worked on, nor to be tried again. */
  idle(): Promise<void>
  /** Starts nothing any more. Resolves when what is under way has ended. */
  stop(): Promise<void>
}

interface QueueSettings {
  /** Its rejection means: again, later. */
  readonly work: (key: string) => Promise<void>
  readonly onFailure?: (key: string, error: Error, retryIn: number) => void
  readonly concurrency?: number
  readonly clock?: Clock
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

const CONCURRENCY = 4
/** What fails for long, such as for a missing right, should not fill the log. */
const LONGEST_RETRY_MS = 60_000
/** Timers of Node take no longer times. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export function createQueue(settings: QueueSettings): WorkQueue {
  const { work, concurrency = CONCURRENCY, clock = SYSTEM_CLOCK, now = Date.now } = settings
  const waiting = new Set<string>()
  const waitingFirst = new Set<string>()
  /** Those that are worked on, and whether they were added again meanwhile. */
  const running = new Map<string, boolean>()
  const failures = new Map<string, number>()
  const retries = new Map<string, NodeJS.Timeout>()
  const times = new Map<string, NodeJS.Timeout>()
  let isStopped = false
  let watchers: (() => void)[] = []

  return {
    add,
    addFirst,
    addAt,
    depth: () => waitingFirst.size + waiting.size + running.size,
    idle: () => new Promise((resolve) => whenIdle(resolve)),
    stop() {
      isStopped = true
      waitingFirst.clear()
      waiting.clear()
      for (const timer of [...retries.values(), ...times.values()]) clearTimeout(timer)
      retries.clear()
      times.clear()
      return new Promise((resolve) => whenIdle(resolve))
    },
  }

  function add(key: string): void {
    if (isStopped) return
    clearTimeout(retries.get(key))
    retries.delete(key)
    if (running.has(key)) running.set(key, true)
    else if (!waitingFirst.has(key)) waiting.add(key)
    startNext()
  }

  function addFirst(key: string): void {
    if (!isStopped && !running.has(key)) {
      waiting.delete(key)
      waitingFirst.add(key)
    }
    add(key)
  }

  function addAt(key: string, time: number | undefined): void {
    clearTimeout(times.get(key))
    times.delete(key)
    if (time === undefined || isStopped) return
    const wait = Math.max(0, time - now())
    times.set(key, setTimeout(due, Math.min(wait, LONGEST_TIMER_MS)).unref())

    function due(): void {
      times.delete(key)
      if (wait > LONGEST_TIMER_MS) addAt(key, time)
      else add(key)
    }
  }

  function startNext(): void {
    for (const keys of [waitingFirst, waiting]) {
      for (const key of keys) {
        if (running.size >= concurrency) return
        keys.delete(key)
        running.set(key, false)
        void run(key)
      }
    }
  }

  async function run(key: string): Promise<void> {
    let failed: Error | undefined
    try {
      await work(key)
      failures.delete(key)
    } catch (error) {
      failed = error as Error
    }
    const isAddedAgain = running.get(key)
    running.delete(key)
    if (!isStopped) {
      if (failed) retryLater(key, failed)
      if (isAddedAgain) add(key)
      startNext()
    }
    tellIfIdle()
  }

  function retryLater(key: string, error: Error): void {
    const count = (failures.get(key) ?? 0) + 1
    failures.set(key, count)
    const retryAfter = error instanceof KubeError ? error.retryAfter : undefined
    const retryIn = backoff(count, clock.random, { most: LONGEST_RETRY_MS, retryAfter })
    settings.onFailure?.(key, error, retryIn)
    retries.set(key, setTimeout(() => add(key), retryIn).unref())
  }

  function whenIdle(resolve: () => void): void {
    watchers.push(resolve)
    tellIfIdle()
  }

  function tellIfIdle(): void {
    if (waitingFirst.size + waiting.size + running.size + retries.size > 0) return
    const all = watchers
    watchers = []
    for (const resolve of all) resolve()
  }
}
