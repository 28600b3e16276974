/** Requests, and bytes of bodies, that one link may have unanswered. */
const MAX_REQUESTS = 128;
const MAX_BYTES = 8 * 1_048_576;

/** Lets senders in one after another while the mailbox still owes few enough answers. */
export class SendWindow {
  #requests = 0;
  #bytes = 0;
  #waiting: (() => void)[] = [];

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
    return this.#requests >= MAX_REQUESTS || this.#bytes + size > MAX_BYTES;
  }

  #wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
