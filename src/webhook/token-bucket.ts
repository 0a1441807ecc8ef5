/** So many at once, and then so many a second. */
export interface TokenBucket {
  /** Whether there is still one, which is gone then. `now` in milliseconds. */
  take(now: number): boolean
  /** Gives one back that was not used after all. */
  giveBack(): void
}

export function tokenBucket(burst: number, perSecond: number): TokenBucket {
  let tokens = burst
  let filled = Number.NEGATIVE_INFINITY
  return {
    take(now) {
      // A clock that was set back fills nothing.
      const seconds = Math.max(0, now - filled) / 1000
      tokens = Math.min(burst, tokens + seconds * perSecond)
      filled = now
      if (tokens < 1) return false
      tokens--
      return true
    },
    giveBack() {
      tokens = Math.min(burst, tokens + 1)
    },
  }
}
