const FIRST = 500;
const LONGEST = 30_000;

/**
 * Milliseconds to wait before attempt number `attempt` (from 0) after a failure: doubling from
 * 0.5 s to 30 s, of which the second half is left to chance so that many clients of one server do
 * not come back in step. `random` is uniform in [0, 1).
 */
export function backoffDelay(attempt: number, random: number): number {
  const longest = Math.min(LONGEST, FIRST * 2 ** attempt);
  return Math.round(longest / 2 * (1 + random));
}
