/** How soon what somebody else has written into the entries is set right. */
export interface Mending {
  /** Between the last write and the next that sets right what was written already. */
  pace(): number
  /** Once more, somebody else's writing was set right. */
  mended(): void
}

interface MendingSettings {
  readonly pace: number
  readonly now: () => number
  /** Somebody means it: called once, until there has been peace. */
  readonly onStrife: () => void
}

/** People who try something out are set right at once. */
const AT_ONCE = 3
const LONGEST_PACE_MS = 60_000
/** After so long without, it is over. */
const PEACE_MS = 10 * LONGEST_PACE_MS

/** Another program that keeps these entries, as it wants them, would write as fast as this one: then each is slower every time. */
export function createMending({ pace, now, onStrife }: MendingSettings): Mending {
  let count = 0
  let last = Number.NEGATIVE_INFINITY
  return {
    pace: () => Math.min(LONGEST_PACE_MS, pace * 2 ** Math.max(0, count - AT_ONCE)),
    mended() {
      if (now() - last > PEACE_MS) count = 0
      last = now()
      count++
      if (count === AT_ONCE + 1) onStrife()
    },
  }
}
