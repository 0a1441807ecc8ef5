import { setTimeout as timeout } from 'node:timers/promises'

/** Time and chance, as arguments: tests decide what they are. */
export interface Clock {
  /** Milliseconds since any moment; never goes back. */
  now(): number
  /** Resolves after so many milliseconds, at once when the signal is aborted. Never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>
  /** From 0 up to, not including, 1. */
  random(): number
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => timeout(milliseconds, undefined, { signal }).catch(() => {}),
  random: Math.random,
}
