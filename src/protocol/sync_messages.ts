import { ProtocolError } from "../base/errors.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";
import { PeerId } from "./crypto/peer_id.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

/* Payloads 0x0730 and 0x0731. */

const ID_LENGTH = 16;
const PEER_ID_LENGTH = 34;
/** Most recipients of one request. */
export const MAX_SYNC_RECIPIENTS = 64;
/** Largest body of kind 0 or 1 that goes with a shared one: it holds a key, not the message. */
export const MAX_SYNC_NOTE = 2_048;

/** One recipient's part of a message to several. Decoded byte fields are views, here and below. */
export interface SyncRow {
  readonly recipient: PeerId;
  /** 16 bytes. */
  readonly msgId: Uint8Array;
  /** For the recipient alone: how to open the shared body. At most 2,048 bytes. */
  readonly encryptedPayload: Uint8Array;
  /** In the same sequence as ForwardRequest's. */
  readonly sequenceNumber: number;
}

/** Gives a mailbox one message for several recipients, for all of them or none. */
export interface SyncRequest {
  /** 16 bytes; names the request in its answer. */
  readonly id: Uint8Array;
  readonly sharedBody: Uint8Array;
  /** 1 to 64, of different recipients. */
  readonly rows: readonly SyncRow[];
}

export function encodeSyncRequest({ id, sharedBody, rows }: SyncRequest): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, id],
      [1, sharedBody],
      [
        2,
        rows.map(({ recipient, msgId, encryptedPayload, sequenceNumber }) => [
          recipient.bytes,
          msgId,
          encryptedPayload,
          sequenceNumber,
        ]),
      ],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeSyncRequest(payload: Uint8Array): SyncRequest {
  const map = decodeCborMap(payload);
  const rows = map.rows(2, 4, MAX_SYNC_RECIPIENTS).map((row) => ({
    recipient: readPeerId(row),
    msgId: row.bytes(1, ID_LENGTH),
    encryptedPayload: row.bytesUpTo(2, MAX_SYNC_NOTE),
    sequenceNumber: row.uint(3),
  }));
  if (rows.length === 0) throw new ProtocolError("malformed", "A message to nobody");
  if (new Set(rows.map(({ recipient }) => `${recipient}`)).size < rows.length) {
    throw new ProtocolError("malformed", "A message to the same recipient twice");
  }
  return { id: map.bytes(0, ID_LENGTH), sharedBody: map.bytes(1), rows };
}

/** How one recipient's part was answered. */
export interface SyncAnswer {
  readonly recipient: PeerId;
  /** Why the request was refused, where that is this recipient's; null elsewhere. */
  readonly rejectionReason: string | null;
  /** The last sequence number that the mailbox accepted for this recipient. */
  readonly lastSequence: number;
  /** How a repeated message has ended, if it has; the reason is above. */
  readonly delivered?: boolean;
}

/** Answers a SyncRequest: all of it was accepted, or nothing. */
export interface SyncAck {
  readonly id: Uint8Array;
  readonly accepted: boolean;
  /** One per row, in their order. */
  readonly answers: readonly SyncAnswer[];
}

export function encodeSyncAck({ id, accepted, answers }: SyncAck): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, id],
      [1, accepted],
      [
        2,
        answers.map(({ recipient, rejectionReason, lastSequence, delivered }) => [
          recipient.bytes,
          rejectionReason,
          lastSequence,
          delivered ?? null,
        ]),
      ],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeSyncAck(payload: Uint8Array): SyncAck {
  const map = decodeCborMap(payload);
  return {
    id: map.bytes(0, ID_LENGTH),
    accepted: map.boolean(1),
    answers: map.rows(2, 4, MAX_SYNC_RECIPIENTS).map((row) => ({
      recipient: readPeerId(row),
      rejectionReason: row.has(1) ? row.text(1, MAX_TEXT_LENGTH) : null,
      lastSequence: row.uint(2),
      ...(row.has(3) && { delivered: row.boolean(3) }),
    })),
  };
}

function readPeerId(row: CborMap): PeerId {
  return PeerId.fromBytes(row.bytes(0, PEER_ID_LENGTH));
}
