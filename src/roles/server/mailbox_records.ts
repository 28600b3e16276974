import { hash } from "node:crypto";
import { compareBytes, concatBytes, equalBytes, readU16, toHex, u16 } from "../../base/bytes.ts";
import { type CborValue, decodeCborMap, encodeCbor } from "../../protocol/cbor.ts";
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
  /** SHA-256 of the body. */
  readonly hash: Uint8Array;
  /** A small body itself; where a large one lies; `null` when it has a record of its own. */
  readonly body: Uint8Array | BlobRef | null;
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
  readonly value: MailboxMessage["body"];
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

const CHECKSUM_LENGTH = 8;
const FRONT_LENGTH = CHECKSUM_LENGTH + 2;

/**
 * The record of a waiting message: 8 bytes of the SHA-256 of the header, the header's length (u16),
 * the header (CBOR), then a small body. A large one is `[blob, parts, size]` in the header.
 */
export function encodeWaiting(message: MailboxMessage): Uint8Array<ArrayBuffer> {
  const { msgId, sequence, size, acceptedAt, hash: bodyHash, body } = message;
  const isInline = body instanceof Uint8Array;
  const header = encodeCbor(
    new Map<number, CborValue>([
      [0, msgId],
      [1, sequence],
      [2, size],
      [3, acceptedAt],
      [4, bodyHash],
      [5, isInline],
      ...(isInline || body === null ? [] : [[6, body.blob], [7, body.parts]] as const),
    ]),
  );
  return concatBytes(
    checksumOf(header),
    u16(header.length),
    header,
    ...(isInline ? [body] : []),
  );
}

/** @throws {TypeError} when the record is damaged. */
export function decodeWaiting(
  record: unknown,
  { from, to, order }: Pick<MailboxMessage, "from" | "to" | "order">,
): MailboxMessage {
  if (!(record instanceof Uint8Array) || record.length < FRONT_LENGTH) throw damaged();
  const end = FRONT_LENGTH + readU16(record, CHECKSUM_LENGTH);
  const header = record.subarray(FRONT_LENGTH, end);
  if (!equalBytes(checksumOf(header), record.subarray(0, CHECKSUM_LENGTH))) throw damaged();
  const map = decodeCborMap(header);
  const msgId = map.bytes(0, 16).slice();
  const size = map.uint(2);
  const blob = map.has(6) ? { blob: map.bytes(6, 16).slice(), parts: map.uint(7), size } : null;
  return {
    order,
    id: toHex(msgId),
    sender: from.toString(),
    size,
    acceptedAt: map.uint(3),
    msgId,
    from,
    to,
    sequence: map.uint(1),
    hash: map.bytes(4, 32).slice(),
    body: map.boolean(5) ? record.subarray(end) : blob,
  };
}

function checksumOf(header: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", header, "buffer")).subarray(0, CHECKSUM_LENGTH);
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
