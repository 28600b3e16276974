const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** After start the clock may not have been set yet. */
export const SETTLING_MS = 10 * MINUTE_MS;
/** A difference of the clocks' advance beyond this is a step, not drift. */
export const STEP_MS = HOUR_MS;
/** How long a stepped clock must run steadily before it is believed. */
export const CONFIRMATION_MS = HOUR_MS;
/** No message was stored before 2025: a clock that says so was not set. */
export const EARLIEST_PLAUSIBLE_MS = 1_735_689_600_000;

/**
 * Decides whether the wall clock may be believed when something irreversible hangs on it: a clock
 * that jumps must not make messages expire. It is not believed in the first minutes, nor after a
 * step against the monotonic clock until it has run steadily for an hour.
 */
export class ExpiryClock {
  #wall: number;
  #monotonic: number;
  #believedFrom: number;

  constructor(wallMs: number, monotonicMs: number) {
    this.#wall = wallMs;
    this.#monotonic = monotonicMs;
    this.#believedFrom = monotonicMs + SETTLING_MS;
  }

  /**
   * Compares the clocks; call it before every decision and at least every few minutes. Returns
   * whether the wall clock may be believed now.
   */
  observe(wallMs: number, monotonicMs: number): boolean {
    const step = (wallMs - this.#wall) - (monotonicMs - this.#monotonic);
    this.#wall = wallMs;
    this.#monotonic = monotonicMs;
    if (Math.abs(step) > STEP_MS) {
      this.#believedFrom = Math.max(this.#believedFrom, monotonicMs + CONFIRMATION_MS);
    }
    return monotonicMs >= this.#believedFrom && wallMs >= EARLIEST_PLAUSIBLE_MS;
  }
}

/** What a believed clock says about a time that was written down earlier. */
export function ageOf(acceptedAtMs: number, nowMs: number): number | "implausible" {
  const implausible = acceptedAtMs < EARLIEST_PLAUSIBLE_MS || acceptedAtMs > nowMs + STEP_MS;
  return implausible ? "implausible" : Math.max(0, nowMs - acceptedAtMs);
}
