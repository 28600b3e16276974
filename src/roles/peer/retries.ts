const FIRST_DELAY = 5_000;
const LAST_DELAY = 60_000;

/** Tries things again after a while, each failure doubling the while. */
export class Retries {
  readonly #pending = new Map<string, { delay: number; timer: ReturnType<typeof setTimeout> }>();
  #closed = false;

  later(key: string, action: () => void): void {
    if (this.#closed) return;
    const last = this.#pending.get(key);
    clearTimeout(last?.timer);
    const delay = last ? Math.min(last.delay * 2, LAST_DELAY) : FIRST_DELAY;
    this.#pending.set(key, { delay, timer: setTimeout(action, delay) });
  }

  /** It worked: the next failure waits for the shortest while again. */
  succeeded(key: string): void {
    clearTimeout(this.#pending.get(key)?.timer);
    this.#pending.delete(key);
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
    this.#pending.clear();
  }
}
