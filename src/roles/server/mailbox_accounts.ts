import type { PeerId } from "../../protocol/crypto/peer_id.ts";

/** What may wait for one peer at most. */
export interface MailboxQuota {
  readonly messages: number;
  /** Bytes of bodies; at most the total of the whole mailbox counts. */
  readonly bytes: number;
}

/** A change of one peer's quota: `null` brings the default back, what is left out stays. */
export interface QuotaChange {
  readonly messages?: number | null;
  readonly bytes?: number | null;
}

/** What is kept for one peer, and how much may be. */
export interface MailboxAccount {
  readonly peerId: PeerId;
  /** Messages that wait for it. */
  readonly messages: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
  readonly quota: MailboxQuota;
  /** Which parts of the quota were set for this peer; the rest is the default. */
  readonly own: { readonly messages: boolean; readonly bytes: boolean };
}

/** What waits for one recipient. */
export interface QueueStatus {
  readonly peerId: PeerId;
  readonly pendingMessages: number;
  readonly oldestMessageAgeSecs: number;
  readonly totalBytes: number;
}

/** A message that waits, without its body. */
export interface QueuedMessage {
  /** Place in the order of acceptance; names the message towards `after`. */
  readonly order: number;
  /** Hexadecimal. */
  readonly msgId: string;
  readonly from: PeerId;
  /** Bytes of the body. */
  readonly size: number;
  /** Wall clock, milliseconds. */
  readonly acceptedAt: number;
}

/** What is told of a message. */
export interface MessageParts {
  readonly msgId: Uint8Array;
  readonly from: PeerId;
  readonly to: PeerId;
  /** Bytes of the body. */
  readonly size: number;
  /** Unix milliseconds. */
  readonly acceptedAt: number;
}

/** What happened to a message, for those who count and watch. */
export type MailboxEvent =
  | (MessageParts & { readonly type: "accepted" })
  /** It went out on its recipient's link, for the first time or again. */
  | (MessageParts & { readonly type: "offered" })
  | (MessageParts & {
    readonly type: "ended";
    /** `null` when it was delivered. */
    readonly reason: string | null;
  })
  | {
    readonly type: "refused";
    readonly from: PeerId;
    readonly to: PeerId;
    readonly size: number;
    readonly reason: string;
  };

/** The mailbox as its operator sees and steers it. Counts come from memory and cost no reading. */
export interface MailboxAccounts {
  /** Peers for whom something waits or whose quota was set. */
  list(): MailboxAccount[];
  of(peer: PeerId): MailboxAccount;
  /** What the whole mailbox holds, messages on their way to the disk included, and its limit. */
  totals(): { readonly messages: number; readonly bytes: number; readonly maxBytes: number };
  /**
   * Durably sets what may wait for a peer. What waits beyond it stays.
   *
   * @throws {RangeError} unless each number is a safe integer of at least 0.
   */
  setQuota(peer: PeerId, change: QuotaChange): Promise<MailboxAccount>;
  /** Every recipient for whom something waits; reads one record where the oldest is not known. */
  queues(): Promise<QueueStatus[]>;
  /** Up to `limit` messages that wait for a peer, sender by sender, each sender's in order. */
  messages(peer: PeerId, limit: number): Promise<QueuedMessage[]>;
  /** Ends everything that waits for a peer; its senders are told. Returns how many there were. */
  purge(peer: PeerId): Promise<number>;
  /** Calls `listener`, which must not throw, with what happens from here on; returns the end. */
  watch(listener: (event: MailboxEvent) => void): () => void;
}
