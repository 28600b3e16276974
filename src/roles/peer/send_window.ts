/** Requests, and bytes of bodies, that may be unanswered at a time. */
export interface WindowLimits {
  readonly requests: number;
  readonly bytes: number;
}

const LIMITS: WindowLimits = { requests: 128, bytes: 8 * 1_048_576 };

/** Lets senders in one after another while the other end still owes few enough answers. */
export class SendWindow {
  readonly #limits: WindowLimits;
  #requests = 0;
  #bytes = 0;
  #waiting: (() => void)[] = [];

  constructor(limits: WindowLimits = LIMITS) {
    this.#limits = limits;
  }

  /** Resolves when `size` more bytes may leave; one body is always let through alone. */
  async enter(size: number): Promise<void> {
    while (this.#isFull(size)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#requests++;
    this.#bytes += size;
  }

  /** The answer for `size` bytes came. */
  leave(size: number): void {
    this.#requests--;
    this.#bytes -= size;
    this.#wakeAll();
  }

  /** Lets everyone through: the link has ended, and sending fails by itself. */
  close(): void {
    this.#requests = -Infinity;
    this.#wakeAll();
  }

  #isFull(size: number): boolean {
    if (this.#requests <= 0) return false;
    const { requests, bytes } = this.#limits;
    return this.#requests >= requests || this.#bytes + size > bytes;
  }

  #wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
