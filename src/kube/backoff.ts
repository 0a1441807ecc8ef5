/**
 * How long to wait before the next try, in milliseconds: twice as long for each failure in a row, up to a limit, of which half
 * is left to chance, so that the many clients of a server that comes back do not come all at once. A wait that the server asks
 * for is kept, and spread in the same way.
 */
export function backoff(
  failures: number,
  random: () => number,
  {
    first = FIRST_MS,
    most = MOST_MS,
    retryAfter = 0,
  }: { first?: number; most?: number; retryAfter?: number } = {},
): number {
  const whole = Math.min(most, first * 2 ** Math.min(failures - 1, 30))
  const asked = Math.min(retryAfter * 1000, MOST_ASKED_MS)
  return asked + whole * (0.5 + random() / 2)
}

const FIRST_MS = 100
/** An API server that was away is found again within this. */
const MOST_MS = 5_000
/** More than a server asks for; a header with nonsense must not put an end to the watch. */
const MOST_ASKED_MS = 60_000
