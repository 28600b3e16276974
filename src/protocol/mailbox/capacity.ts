import { queueFull, QUOTA_EXCEEDED } from "./refusal.ts";

/** What a mailbox holds at most. */
export interface MailboxLimits {
  /** Messages waiting for one recipient. */
  readonly maxPerPeer: number;
  /** Bytes of all bodies together. */
  readonly maxTotalBytes: number;
  /** Bytes of one body. */
  readonly largestBody: number;
}

/**
 * What the mailbox has taken on, stored or on its way to the disk: room is taken at admission and
 * given back when the commit fails or the message leaves, so that nothing accepted is ever dropped
 * for want of room.
 */
export class Capacity {
  readonly limits: MailboxLimits;
  #messages = 0;
  #bytes = 0;
  readonly #perRecipient = new Map<string, number>();

  constructor(limits: MailboxLimits) {
    this.limits = limits;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Why the total does not allow `size` more bytes, if so. */
  overQuota(size: number): string | undefined {
    return this.#bytes + size > this.limits.maxTotalBytes ? QUOTA_EXCEEDED : undefined;
  }

  /** Why one more message for `recipient` has no room, if so. */
  overCount(recipient: string): string | undefined {
    const count = this.#perRecipient.get(recipient) ?? 0;
    return count >= this.limits.maxPerPeer ? queueFull(this.limits.maxPerPeer) : undefined;
  }

  take(recipient: string, size: number): void {
    this.#messages++;
    this.#bytes += size;
    this.#perRecipient.set(recipient, (this.#perRecipient.get(recipient) ?? 0) + 1);
  }

  give(recipient: string, size: number): void {
    this.#messages--;
    this.#bytes -= size;
    const count = (this.#perRecipient.get(recipient) ?? 0) - 1;
    if (count > 0) this.#perRecipient.set(recipient, count);
    else this.#perRecipient.delete(recipient);
  }
}
