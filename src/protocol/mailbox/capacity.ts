import { queueFull, QUOTA_EXCEEDED } from "./refusal.ts";

/** What a mailbox holds at most. */
export interface MailboxLimits {
  /** Messages waiting for one recipient that has no quota of its own. */
  readonly maxPerPeer: number;
  /** Bytes of all bodies together. */
  readonly maxTotalBytes: number;
  /** Bytes of one body. */
  readonly largestBody: number;
}

/** What may wait for one recipient, as far as that was set for it. */
export interface OwnQuota {
  readonly messages?: number;
  /** Bytes of bodies. */
  readonly bytes?: number;
}

/** What is taken. */
export interface Usage {
  readonly messages: number;
  readonly bytes: number;
}

const NOTHING: Usage = { messages: 0, bytes: 0 };

/**
 * What the mailbox has taken on, stored or on its way to the disk: room is taken at admission and
 * given back when the commit fails or the message leaves, so that nothing accepted is ever dropped
 * for want of room.
 */
export class Capacity {
  readonly limits: MailboxLimits;
  #total = NOTHING;
  #saved = 0;
  readonly #perRecipient = new Map<string, Usage>();
  readonly #quotas = new Map<string, OwnQuota>();

  constructor(limits: MailboxLimits) {
    this.limits = limits;
  }

  get messages(): number {
    return this.#total.messages;
  }

  /** Bytes of bodies; one that several recipients share counts once. */
  get bytes(): number {
    return this.#total.bytes - this.#saved;
  }

  usage(recipient: string): Usage {
    return this.#perRecipient.get(recipient) ?? NOTHING;
  }

  /** For whom something is taken. */
  recipients(): string[] {
    return [...this.#perRecipient.keys()];
  }

  ownQuota(recipient: string): OwnQuota {
    return this.#quotas.get(recipient) ?? {};
  }

  /** Recipients with a quota of their own. */
  ownQuotas(): string[] {
    return [...this.#quotas.keys()];
  }

  /** Takes effect on what comes from here on; what waits beyond it stays. */
  setQuota(recipient: string, quota: OwnQuota): void {
    if (quota.messages === undefined && quota.bytes === undefined) this.#quotas.delete(recipient);
    else this.#quotas.set(recipient, quota);
  }

  /** Why `size` more bytes for `recipient` have no room, if so. */
  overQuota(recipient: string, size: number): string | undefined {
    const { bytes = Infinity } = this.ownQuota(recipient);
    const isOver = !this.hasRoom(size) ||
      this.usage(recipient).bytes + size > bytes;
    return isOver ? QUOTA_EXCEEDED : undefined;
  }

  /** Whether the mailbox as a whole takes `size` more bytes. */
  hasRoom(size: number): boolean {
    return this.bytes + size <= this.limits.maxTotalBytes;
  }

  /** Why one more message for `recipient` has no room, if so. */
  overCount(recipient: string): string | undefined {
    const { messages = this.limits.maxPerPeer } = this.ownQuota(recipient);
    return this.usage(recipient).messages >= messages ? queueFull(messages) : undefined;
  }

  /** What waited when the mailbox was opened. */
  restore(recipient: string, { messages, bytes }: Usage): void {
    this.#change(recipient, messages, bytes);
  }

  take(recipient: string, size: number): void {
    this.#change(recipient, 1, size);
  }

  give(recipient: string, size: number): void {
    this.#change(recipient, -1, -size);
  }

  /** So many bytes of what is taken are stored once for several recipients; less when negative. */
  save(size: number): void {
    this.#saved += size;
  }

  #change(recipient: string, messages: number, bytes: number): void {
    this.#total = sum(this.#total, messages, bytes);
    const usage = sum(this.usage(recipient), messages, bytes);
    if (usage.messages > 0) this.#perRecipient.set(recipient, usage);
    else this.#perRecipient.delete(recipient);
  }
}

function sum(usage: Usage, messages: number, bytes: number): Usage {
  return { messages: usage.messages + messages, bytes: usage.bytes + bytes };
}
