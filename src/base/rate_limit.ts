/** What a bucket allows: `burst` at once, refilled at `perSecond`. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

/**
 * Token buckets by key. Full buckets need no memory; at most `maxKeys` are kept, and a newcomer
 * beyond that pushes out the one used longest ago.
 */
export class RateLimit {
  readonly #rate: Rate;
  readonly #maxKeys: number;
  /** In order of last use. */
  readonly #buckets = new Map<string, Bucket>();

  /** @throws {RangeError} unless the rate and `maxKeys` are positive. */
  constructor(rate: Rate, maxKeys = 10_000) {
    if (!(rate.burst > 0) || !(rate.perSecond > 0) || !(maxKeys >= 1)) {
      throw new RangeError("Cannot limit a rate with a burst, refill or size of zero");
    }
    this.#rate = rate;
    this.#maxKeys = maxKeys;
  }

  /** Takes `cost` from the bucket of `key`; `nowMs` is monotonic. Returns whether it had that much. */
  take(key: string, nowMs: number, cost = 1): boolean {
    const bucket = this.#buckets.get(key);
    const tokens = this.#tokens(bucket, nowMs);
    const allowed = tokens >= cost;
    const left = {
      tokens: allowed ? tokens - cost : tokens,
      at: Math.max(bucket?.at ?? nowMs, nowMs),
    };
    this.#buckets.delete(key);
    if (this.#buckets.size >= this.#maxKeys) this.#evict(nowMs);
    this.#buckets.set(key, left);
    return allowed;
  }

  /** Whether {@linkcode take} would succeed; takes nothing. */
  has(key: string, nowMs: number, cost = 1): boolean {
    return this.#tokens(this.#buckets.get(key), nowMs) >= cost;
  }

  #tokens(bucket: Bucket | undefined, nowMs: number): number {
    if (bucket === undefined) return this.#rate.burst;
    const refill = Math.max(0, nowMs - bucket.at) / 1000 * this.#rate.perSecond;
    return Math.min(this.#rate.burst, bucket.tokens + refill);
  }

  /** Forgets the buckets that have refilled, at least the one used longest ago. */
  #evict(nowMs: number): void {
    const refillMs = this.#rate.burst / this.#rate.perSecond * 1000;
    for (const [key, bucket] of this.#buckets) {
      if (this.#buckets.size < this.#maxKeys && nowMs - bucket.at < refillMs) break;
      this.#buckets.delete(key);
    }
  }
}
