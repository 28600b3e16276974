import type { Rate } from "./rate_limit.ts";

/** One token bucket: `burst` at once, refilled at `perSecond`. For many keys see `RateLimit`. */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  /** `nowMs` is monotonic, here and in {@linkcode take}. */
  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = nowMs;
  }

  /** Takes `cost`, or nothing when there is not that much. Returns whether there was. */
  take(nowMs: number, cost = 1): boolean {
    const elapsed = Math.max(0, nowMs - this.#at);
    this.#at += elapsed;
    const { burst, perSecond } = this.#rate;
    this.#tokens = Math.min(burst, this.#tokens + elapsed / 1000 * perSecond);
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }
}
