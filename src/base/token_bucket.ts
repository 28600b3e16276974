import type { Rate } from "./rate_limit.ts";

/** One token bucket: `burst` at once, refilled at `perSecond`. For many keys see `RateLimit`. */
export class TokenBucket {
  readonly #rate: Rate;
  /** Tokens and the time they were counted: in an array, since a field would box each fraction. */
  readonly #state: Float64Array;

  /** `nowMs` is monotonic, here and in {@linkcode take}. */
  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#state = Float64Array.of(rate.burst, nowMs);
  }

  /** Takes `cost`, or nothing when there is not that much. Returns whether there was. */
  take(nowMs: number, cost = 1): boolean {
    const state = this.#state;
    const elapsed = Math.max(0, nowMs - state[1]!);
    const { burst, perSecond } = this.#rate;
    const tokens = Math.min(burst, state[0]! + elapsed / 1000 * perSecond);
    const allowed = tokens >= cost;
    state[0] = allowed ? tokens - cost : tokens;
    state[1]! += elapsed;
    return allowed;
  }
}
