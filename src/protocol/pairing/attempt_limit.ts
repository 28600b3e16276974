const STEP = 2_000;
const LONGEST = 10_000;
const FORGET_AFTER = 600_000;
const MAX_SOURCES = 10_000;
const HOUR = 3_600_000;

interface Failures {
  count: number;
  /** Monotonic milliseconds. */
  last: number;
}

/**
 * How often a key may be tried: each failure of a source makes it wait 2 s longer, up to 10 s, and
 * only so many peers are paired in an hour. Times are monotonic milliseconds.
 */
export class AttemptLimit {
  readonly #failures = new Map<string, Failures>();
  #paired: number[] = [];

  constructor(private readonly newPeersPerHour = 100) {}

  /** Milliseconds that `source` has to wait before it may try; 0 when it may now. */
  delay(source: string, now: number): number {
    this.#paired = this.#paired.filter((time) => now - time < HOUR);
    const oldest = this.#paired[0];
    if (oldest !== undefined && this.#paired.length >= this.newPeersPerHour) {
      return oldest + HOUR - now;
    }
    const failures = this.#failures.get(source);
    if (!failures) return 0;
    if (now - failures.last > FORGET_AFTER) {
      this.#failures.delete(source);
      return 0;
    }
    return Math.max(0, Math.min(failures.count * STEP, LONGEST) - (now - failures.last));
  }

  failed(source: string, now: number): void {
    const count = (this.#failures.get(source)?.count ?? 0) + 1;
    this.#failures.delete(source);
    if (this.#failures.size >= MAX_SOURCES) {
      const [oldest] = this.#failures.keys();
      if (oldest !== undefined) this.#failures.delete(oldest);
    }
    this.#failures.set(source, { count, last: now });
  }

  /** `isNew` is false when a known peer paired again. */
  succeeded(source: string, now: number, isNew: boolean): void {
    this.#failures.delete(source);
    if (isNew) this.#paired.push(now);
  }
}
