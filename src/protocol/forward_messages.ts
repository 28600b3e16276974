import { concatBytes } from "../base/bytes.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "./cbor.ts";
import { FixedReader, FixedWriter, isFixedUint } from "./cbor_fixed.ts";
import type { CborValue } from "./cbor_value.ts";
import { PeerId } from "./crypto/peer_id.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

/*
 * Payloads 0x0700 to 0x0703 and 0x0713 to 0x0717. Text keys and their order are the reference's;
 * `delivered`, `last_sequence`, `failed`, `refused`, `shared_body` and the maps with integer keys are ours.
 */

const ID_LENGTH = 16;
const PEER_ID_LENGTH = 34;
/** Most message ids in one list. */
export const MAX_IDS = 1_024;

/** The head of a map of four, and its first key: of a request, and of an answer that accepts. */
const FOUR_FROM_ID = concatBytes(Uint8Array.of(0xa4), encodeCbor("msg_id"));
const RECIPIENT = encodeCbor("recipient");
const ENCRYPTED_PAYLOAD = encodeCbor("encrypted_payload");
const SEQUENCE_NUMBER = encodeCbor("sequence_number");
const ACCEPTED = concatBytes(
  ...[encodeCbor("accepted"), encodeCbor(true), encodeCbor("rejection_reason"), encodeCbor(null)],
  encodeCbor("last_sequence"),
);

/** Gives a mailbox a message for `recipient`. Decoded byte fields are views, here and below. */
export interface ForwardRequest {
  /** 16 bytes. */
  readonly msgId: Uint8Array;
  readonly recipient: PeerId;
  readonly encryptedPayload: Uint8Array;
  /** Counts, from 1, what this sender gave to this mailbox for this recipient. */
  readonly sequenceNumber: number;
}

export function encodeForwardRequest(message: ForwardRequest): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<string, CborValue>([
      ["msg_id", message.msgId],
      ["recipient", message.recipient.bytes],
      ["encrypted_payload", message.encryptedPayload],
      ["sequence_number", message.sequenceNumber],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeForwardRequest(payload: Uint8Array): ForwardRequest {
  const reader = new FixedReader(payload);
  reader.constant(FOUR_FROM_ID);
  const msgId = reader.bytes(ID_LENGTH);
  reader.constant(RECIPIENT);
  const recipient = reader.bytes(PEER_ID_LENGTH);
  reader.constant(ENCRYPTED_PAYLOAD);
  const encryptedPayload = reader.bytes();
  reader.constant(SEQUENCE_NUMBER);
  const sequenceNumber = reader.uint();
  if (reader.isWhole) {
    return { msgId, recipient: PeerId.fromBytes(recipient), encryptedPayload, sequenceNumber };
  }
  const map = decodeCborMap(payload);
  return {
    msgId: map.bytes("msg_id", ID_LENGTH),
    recipient: readPeerId(map, "recipient"),
    encryptedPayload: map.bytes("encrypted_payload"),
    sequenceNumber: map.uint("sequence_number"),
  };
}

/** Answers a request; with `delivered` it is the receipt that follows later. */
export interface ForwardAck {
  /** 16 bytes. */
  readonly msgId: Uint8Array;
  readonly accepted: boolean;
  /** At most 256 bytes. */
  readonly rejectionReason: string | null;
  readonly delivered?: boolean;
  /** The last sequence number that the mailbox accepted from this sender for this recipient. */
  readonly lastSequence?: number;
}

export function encodeForwardAck(message: ForwardAck): Uint8Array<ArrayBuffer> {
  const { msgId, accepted, rejectionReason, delivered, lastSequence } = message;
  const isPlain = accepted && rejectionReason === null && delivered === undefined;
  if (isPlain && lastSequence !== undefined && isFixedUint(lastSequence)) {
    return new FixedWriter(FOUR_FROM_ID.length + msgId.length + ACCEPTED.length, 2)
      .constant(FOUR_FROM_ID).bytes(msgId)
      .constant(ACCEPTED).uint(lastSequence)
      .finish();
  }
  const map = new Map<string, CborValue>([
    ["msg_id", msgId],
    ["accepted", accepted],
    ["rejection_reason", rejectionReason],
  ]);
  if (delivered !== undefined) map.set("delivered", delivered);
  if (lastSequence !== undefined) map.set("last_sequence", lastSequence);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodeForwardAck(payload: Uint8Array): ForwardAck {
  const map = decodeCborMap(payload);
  return {
    msgId: map.bytes("msg_id", ID_LENGTH),
    accepted: map.boolean("accepted"),
    rejectionReason: map.has("rejection_reason")
      ? map.text("rejection_reason", MAX_TEXT_LENGTH)
      : null,
    ...(map.has("delivered") && { delivered: map.boolean("delivered") }),
    ...(map.has("last_sequence") && { lastSequence: map.uint("last_sequence") }),
  };
}

/** Gives a recipient a message that waited. */
export interface ForwardDeliver {
  /** 16 bytes. */
  readonly msgId: Uint8Array;
  readonly sender: PeerId;
  readonly encryptedPayload: Uint8Array;
  readonly sequenceNumber: number;
  /** What the payload tells how to open, when the message went to several recipients. */
  readonly sharedBody?: Uint8Array;
}

export function encodeForwardDeliver(message: ForwardDeliver): Uint8Array<ArrayBuffer> {
  const map = new Map<string, CborValue>([
    ["msg_id", message.msgId],
    ["sender", message.sender.bytes],
    ["encrypted_payload", message.encryptedPayload],
    ["sequence_number", message.sequenceNumber],
  ]);
  if (message.sharedBody !== undefined) map.set("shared_body", message.sharedBody);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodeForwardDeliver(payload: Uint8Array): ForwardDeliver {
  const map = decodeCborMap(payload);
  return {
    msgId: map.bytes("msg_id", ID_LENGTH),
    sender: readPeerId(map, "sender"),
    encryptedPayload: map.bytes("encrypted_payload"),
    sequenceNumber: map.uint("sequence_number"),
    ...(map.has("shared_body") && { sharedBody: map.bytes("shared_body") }),
  };
}

/** Tells a mailbox what it need not keep any longer: ids of 16 bytes, at most 1,024 a list. */
export interface ForwardPurge {
  /** What the recipient has stored. */
  readonly msgIds: readonly Uint8Array[];
  /** What it could not open. Left out of the encoding when empty, as the reference knows it. */
  readonly failed: readonly Uint8Array[];
  /** What it will not take from this sender. Left out of the encoding when empty, too. */
  readonly refused?: readonly Uint8Array[];
}

export function encodeForwardPurge(message: ForwardPurge): Uint8Array<ArrayBuffer> {
  const map = new Map<string, CborValue>([["msg_ids", [...message.msgIds]]]);
  if (message.failed.length > 0) map.set("failed", [...message.failed]);
  if (message.refused?.length) map.set("refused", [...message.refused]);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodeForwardPurge(payload: Uint8Array): ForwardPurge {
  const map = decodeCborMap(payload);
  return {
    msgIds: map.bytesArray("msg_ids", ID_LENGTH, MAX_IDS),
    failed: map.has("failed") ? map.bytesArray("failed", ID_LENGTH, MAX_IDS) : [],
    ...(map.has("refused") && { refused: map.bytesArray("refused", ID_LENGTH, MAX_IDS) }),
  };
}

/** What a mailbox tells each paired peer at the start of a link. */
export interface MailboxStatus {
  /** 16 bytes; another one than before means that the store was restored or replaced. */
  readonly storeId: Uint8Array;
  readonly oneTimePrekeysLeft: number;
  readonly signedPrekeyId: number | null;
  /** Bytes. */
  readonly largestBody: number;
  readonly retentionSeconds: number;
}

export function encodeMailboxStatus(message: MailboxStatus): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, message.storeId],
      [1, message.oneTimePrekeysLeft],
      [2, message.signedPrekeyId],
      [3, message.largestBody],
      [4, message.retentionSeconds],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeMailboxStatus(payload: Uint8Array): MailboxStatus {
  const map = decodeCborMap(payload);
  return {
    storeId: map.bytes(0, ID_LENGTH),
    oneTimePrekeysLeft: map.uint(1),
    signedPrekeyId: map.has(2) ? map.uint(2, 0xffff_ffff) : null,
    largestBody: map.uint(3),
    retentionSeconds: map.uint(4),
  };
}

/** Asks a mailbox for the last sequence number that it accepted for `recipient`. */
export interface SequenceQuery {
  readonly recipient: PeerId;
}

export function encodeSequenceQuery(message: SequenceQuery): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([[0, message.recipient.bytes]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeSequenceQuery(payload: Uint8Array): SequenceQuery {
  return { recipient: readPeerId(decodeCborMap(payload), 0) };
}

/** Answers a {@linkcode SequenceQuery}. */
export interface SequenceReport {
  readonly recipient: PeerId;
  /** 0 when nothing was accepted yet. */
  readonly lastSequence: number;
}

export function encodeSequenceReport(message: SequenceReport): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([[0, message.recipient.bytes], [1, message.lastSequence]]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeSequenceReport(payload: Uint8Array): SequenceReport {
  const map = decodeCborMap(payload);
  return { recipient: readPeerId(map, 0), lastSequence: map.uint(1) };
}

/** Tells a mailbox which receipts have arrived: ids of 16 bytes, at most 1,024. */
export interface ReceiptAck {
  readonly msgIds: readonly Uint8Array[];
}

export function encodeReceiptAck(message: ReceiptAck): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([[0, [...message.msgIds]]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeReceiptAck(payload: Uint8Array): ReceiptAck {
  return { msgIds: decodeCborMap(payload).bytesArray(0, ID_LENGTH, MAX_IDS) };
}

function readPeerId(map: CborMap, key: number | string): PeerId {
  return PeerId.fromBytes(map.bytes(key, PEER_ID_LENGTH));
}
