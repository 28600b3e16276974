import type { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { StoredBody } from "../kv_blobs.ts";

/** A message as it goes to one mailbox: the bytes that are sent again, never made again. */
export interface Wire {
  readonly server: string;
  /** Outer id, 16 bytes. */
  readonly outerId: Uint8Array;
  /** Number in this pair's sequence at that mailbox; 0 until it is given one. */
  readonly sequence: number;
  /** Store id of the mailbox for which the number is valid. */
  readonly storeId: Uint8Array;
  /** True once that store has it on disk. */
  readonly accepted: boolean;
  readonly sessionId: Uint8Array;
  /** Outer ids of the same message at other mailboxes, whose receipts count too; the last few. */
  readonly earlier?: readonly Uint8Array[];
  readonly body: StoredBody;
  /** The body says how to open the one that the message shares with others. */
  readonly isNote?: true;
}

/** The data of a message to several recipients: encrypted once, for all of them. */
export interface SharedData {
  /** Name of the encrypted body, 16 bytes. */
  readonly shared: Uint8Array;
  /** Opens it, and nothing else. */
  readonly key: Uint8Array;
  /** SHA-256 of the encrypted body. */
  readonly hash: Uint8Array;
}

/** One message on its way; kept until the recipient's receipt came. */
export interface OutboxEntry {
  readonly recipient: PeerId;
  /** Inner sequence and id: the same however often it is encrypted. */
  readonly sequence: number;
  readonly id: Uint8Array;
  readonly channel: string;
  readonly sentAt: number;
  readonly data: StoredBody | SharedData;
  /** As in the message. */
  readonly unreadable?: number;
  /** Tells damage of what is above and of the data itself. */
  readonly check: Uint8Array;
  /** How often the recipient could not open it. */
  failures: number;
  wire: Wire | undefined;
  /** Servers that will not take it for its recipient, as far as this process knows. */
  readonly refusedBy: Set<string>;
}

/** Called with the message's id when its fate at the mailbox is known. */
export interface OutboxEvents {
  accepted(entry: OutboxEntry): void;
  delivered(entry: OutboxEntry): void;
  /** `dropped` says whether the message left the outbox for good. */
  refused(entry: OutboxEntry, error: CairnError, dropped: boolean): void;
}
