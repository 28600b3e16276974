import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { WaitingMessage } from "../../protocol/mailbox/delivery_queue.ts";
import type { Undelivered } from "../../protocol/mailbox/refusal.ts";
import type { BlobRef } from "../kv_blobs.ts";

/** A stored message that waits. Its body stays on disk. */
export interface MailboxMessage extends WaitingMessage {
  readonly msgId: Uint8Array;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly sequence: number;
  readonly hash: Uint8Array;
  /** Where a large body lies; `null` when it is kept in one record. */
  readonly blob: BlobRef | null;
}

/** How a message ended. */
export type Outcome = { readonly delivered: true } | {
  readonly delivered: false;
  readonly reason: Undelivered;
};

/** What is remembered of an id: while the message waits and, with `end`, for a time after. */
export interface IdRecord {
  /** SHA-256 of the body. */
  readonly hash: Uint8Array;
  readonly end?: Outcome & { readonly at: number; readonly receipt: number | null };
}

/** A receipt that its sender has not acknowledged. */
export interface Receipt {
  readonly order: number;
  readonly msgId: Uint8Array;
  readonly outcome: Outcome;
}

/** The durable sequence of one sender to one recipient. */
export interface PairRecord {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly lastAccepted: number;
  /** When it last changed, wall clock. */
  readonly at: number;
}

/** An ended message whose id is still remembered. */
export interface Ended {
  readonly key: Deno.KvKey;
  readonly forgetAt: number;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly msgId: Uint8Array;
}
