import { systemHost } from "../base/host.ts";

/**
 * Things that must be over within the same time, each from when it was added. One timer serves them
 * all, which thousands of short waits in a second would otherwise pay for one by one.
 */
export class DeadlineQueue<Item> {
  readonly #timeout: number;
  readonly #onLate: (item: Item) => void;
  /** When each is late, in the order in which they are. */
  readonly #deadlines = new Map<Item, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Calls `onLate` for what is still in the queue `timeout` milliseconds after it was added. */
  constructor(timeout: number, onLate: (item: Item) => void) {
    this.#timeout = timeout;
    this.#onLate = onLate;
  }

  /** Does nothing for what is in the queue already. */
  add(item: Item): void {
    if (this.#deadlines.has(item)) return;
    this.#deadlines.set(item, systemHost.monotonic() + this.#timeout);
    this.#timer ??= setTimeout(() => this.#look(), this.#timeout);
  }

  /** The timer goes on: what comes next will need it. */
  delete(item: Item): void {
    this.#deadlines.delete(item);
  }

  /** Stops the timer; nothing may be added after that. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    this.#timer = undefined;
    const now = systemHost.monotonic();
    for (const [item, deadline] of this.#deadlines) {
      if (deadline > now) {
        this.#timer ??= setTimeout(() => this.#look(), deadline - now);
        return;
      }
      this.#deadlines.delete(item);
      this.#onLate(item);
    }
  }
}
