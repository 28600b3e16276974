import { crc32 } from "node:zlib";
import { compareBytes, toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ReadPage, WaitingMessage } from "../../protocol/mailbox/delivery_queue.ts";
import type { Undelivered } from "../../protocol/mailbox/refusal.ts";
import type { KvOperation } from "../group_commit.ts";
import type { BlobRef } from "../kv_blobs.ts";
import type { LiveRecord } from "../live_record.ts";

/** A stored message that waits. */
export interface MailboxMessage extends WaitingMessage {
  readonly msgId: Uint8Array;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly sequence: number;
  /** SHA-256 of the body; with a shared one of SHA-256 of its own part and SHA-256 of the shared. */
  readonly hash: Uint8Array;
  /** A small body itself; where a large one lies; `null` when it has a record of its own. */
  readonly body: Uint8Array | BlobRef | SharedBody | null;
}

/** The body of a message to several recipients. */
export interface SharedBody {
  /** Name of what all of them get; 16 bytes. */
  readonly shared: Uint8Array;
  /** Its size in bytes, which the message's counts too. */
  readonly sharedSize: number;
  /** What this recipient alone gets. */
  readonly own: Uint8Array;
}

/** How a message ended. */
export type Outcome = { readonly delivered: true } | {
  readonly delivered: false;
  readonly reason: Undelivered;
};

/** What is remembered of an id: while the message waits and, with `end`, for a time after. */
export interface IdRecord {
  /** As of the message. */
  readonly hash: Uint8Array;
  readonly end?: Outcome & { readonly at: number; readonly receipt: number | null };
}

/** A receipt that its sender has not acknowledged. */
export interface Receipt {
  readonly order: number;
  readonly msgId: Uint8Array;
  readonly outcome: Outcome;
}

/** What is durable of one sender and one recipient. */
export interface PairState {
  readonly lastAccepted: number;
  /** When it last changed, wall clock. */
  readonly at: number;
  /** The highest message id that was ever accepted. */
  readonly highestId: Uint8Array;
  /** What waits. */
  readonly messages: number;
  readonly bytes: number;
}

/** An ended message whose id is still remembered. */
export interface Ended {
  readonly key: Deno.KvKey;
  readonly forgetAt: number;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly msgId: Uint8Array;
}

/** A body on its way into the store: what its message's record holds of it, and what goes along. */
export interface PreparedBody {
  readonly bytes: Uint8Array;
  readonly value: Exclude<MailboxMessage["body"], SharedBody>;
  readonly ops: readonly KvOperation[];
}

/** Some of what waits of one sender for one recipient. */
export interface WaitingPage extends ReadPage<MailboxMessage> {
  /** Orders of records that cannot be read. */
  readonly damaged: readonly number[];
}

/** A pair as the store keeps it, and what it is about. */
export interface PairRecord {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly record: LiveRecord<PairState>;
}

/** Where a body is: in its own record, behind the header, or in parts. */
const OWN_RECORD = 0;
const INLINE = 1;
const IN_PARTS = 2;
const SHARED = 3;
const HEADER_LENGTH = 73;
const HEADER_LENGTH_WITH_NAME = 93;

/**
 * The record of a waiting message: CRC-32 of the rest of the header (u32), where the body is (u8),
 * message id (16), sequence and time of acceptance (u64), size (u32), hash of the body (32); for a
 * body in parts its name (16) and their number (u32), for a shared one its name (16) and size (u32);
 * then a small body, or what goes with a shared one.
 */
export function encodeWaiting(message: MailboxMessage): Uint8Array<ArrayBuffer> {
  const { msgId, sequence, size, acceptedAt, hash, body } = message;
  const { where, name, detail, inline } = placeOf(body);
  const end = name === undefined ? HEADER_LENGTH : HEADER_LENGTH_WITH_NAME;
  const record = new Uint8Array(end + inline.length);
  const view = new DataView(record.buffer);
  view.setUint8(4, where);
  record.set(msgId, 5);
  setUint64(view, 21, sequence);
  setUint64(view, 29, acceptedAt);
  view.setUint32(37, size);
  record.set(hash, 41);
  if (name !== undefined) {
    record.set(name, 73);
    view.setUint32(89, detail);
  }
  record.set(inline, end);
  view.setUint32(0, crc32(record.subarray(4, end)));
  return record;
}

/** Without a BigInt, for a safe integer. */
function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, Math.floor(value / 2 ** 32));
  view.setUint32(offset + 4, value % 2 ** 32);
}

function placeOf(body: MailboxMessage["body"]) {
  const nothing = new Uint8Array(0);
  if (body === null) return { where: OWN_RECORD, detail: 0, inline: nothing };
  if (body instanceof Uint8Array) return { where: INLINE, detail: 0, inline: body };
  if ("blob" in body) {
    return { where: IN_PARTS, name: body.blob, detail: body.parts, inline: nothing };
  }
  return { where: SHARED, name: body.shared, detail: body.sharedSize, inline: body.own };
}

/** @throws {TypeError} when the record is damaged. */
export function decodeWaiting(
  record: unknown,
  { from, to, order }: Pick<MailboxMessage, "from" | "to" | "order">,
): MailboxMessage {
  if (!(record instanceof Uint8Array) || record.length < HEADER_LENGTH) throw damaged();
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const where = view.getUint8(4);
  const end = where >= IN_PARTS ? HEADER_LENGTH_WITH_NAME : HEADER_LENGTH;
  if (record.length < end || crc32(record.subarray(4, end)) !== view.getUint32(0)) throw damaged();
  const msgId = record.slice(5, 21);
  const size = view.getUint32(37);
  const body = (): MailboxMessage["body"] => {
    switch (where) {
      case OWN_RECORD:
        return null;
      case INLINE:
        return record.subarray(end);
      case IN_PARTS:
        return { blob: record.slice(73, 89), parts: view.getUint32(89), size };
      case SHARED: {
        const own = record.subarray(end);
        return { shared: record.slice(73, 89), sharedSize: view.getUint32(89), own };
      }
      default:
        throw damaged();
    }
  };
  return {
    order,
    id: toHex(msgId),
    sender: from.toString(),
    size,
    acceptedAt: Number(view.getBigUint64(29)),
    msgId,
    from,
    to,
    sequence: Number(view.getBigUint64(21)),
    hash: record.slice(41, 73),
    body: body(),
  };
}

function damaged(): TypeError {
  return new TypeError("A record of the mailbox is damaged");
}

/** A pair after it got one more message. */
export function withMessage(state: PairState | undefined, message: MailboxMessage): PairState {
  return {
    lastAccepted: message.sequence,
    at: message.acceptedAt,
    highestId: higherOf(state?.highestId, message.msgId),
    messages: (state?.messages ?? 0) + 1,
    bytes: (state?.bytes ?? 0) + message.size,
  };
}

/** A pair after one of its messages ended. */
export function withoutMessage(state: PairState, { size }: MailboxMessage): PairState {
  const { messages, bytes } = state;
  return { ...state, messages: Math.max(0, messages - 1), bytes: Math.max(0, bytes - size) };
}

/** A flipped bit may leave a record that can be read and lacks a field. */
export function isWholePair({ lastAccepted, at, highestId, messages, bytes }: PairState): boolean {
  return highestId instanceof Uint8Array &&
    [lastAccepted, at, messages, bytes].every(Number.isFinite);
}

function higherOf(one: Uint8Array | undefined, other: Uint8Array): Uint8Array {
  return one !== undefined && compareBytes(one, other) >= 0 ? one : other;
}

/** What an operator is told of a message. */
export function partsOf(
  { from, to, size, msgId, acceptedAt }: MailboxMessage,
): Pick<MailboxMessage, "from" | "to" | "size" | "msgId" | "acceptedAt"> {
  return { from, to, size, msgId, acceptedAt };
}
