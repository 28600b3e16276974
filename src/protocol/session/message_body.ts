import { concatBytes, readU16, u16 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { MAX_CHANNEL_LENGTH } from "../message_types.ts";

/** Format version of bodies and the only one in `versions` of a signed prekey bundle. */
export const BODY_VERSION = 1;

const KIND_NORMAL = 0;
const KIND_FIRST = 1;
const HEADER_LENGTH = 18;
const MAX_X3DH_LENGTH = 512;

/** What the initiator of a session repeats until it was answered. */
export interface X3dhData {
  /** Ed25519 identity key of the initiator. */
  readonly identityKey: Uint8Array;
  /** Its X25519 identity key, and the certificate of the former for the latter. */
  readonly x3dhKey: Uint8Array;
  readonly x3dhCertificate: Uint8Array;
  readonly ephemeralKey: Uint8Array;
  readonly signedPrekeyId: number;
  readonly oneTimePrekeyId: number | undefined;
}

/** A parsed body; `ratchetMessage` and the X3DH fields are views on the input. */
export interface Body {
  readonly sessionId: Uint8Array;
  readonly x3dh: X3dhData | undefined;
  readonly ratchetMessage: Uint8Array;
}

/** Encodes what the server stores and forwards: `version ‖ kind ‖ session id ‖ …`. */
export function encodeBody(body: Body): Uint8Array {
  const kind = body.x3dh ? KIND_FIRST : KIND_NORMAL;
  const head = concatBytes(Uint8Array.of(BODY_VERSION, kind), body.sessionId);
  if (!body.x3dh) return concatBytes(head, body.ratchetMessage);
  const x3dh = encodeX3dhData(body.x3dh);
  return concatBytes(head, u16(x3dh.length), x3dh, body.ratchetMessage);
}

/** @throws {ProtocolError} `malformed` or `unsupported-version`. */
export function decodeBody(bytes: Uint8Array): Body {
  if (bytes.length < HEADER_LENGTH) throw new ProtocolError("malformed", "Body is too short");
  if (bytes[0] !== BODY_VERSION) {
    throw new ProtocolError("unsupported-version", "Body has an unknown version");
  }
  const sessionId = bytes.subarray(2, HEADER_LENGTH);
  const kind = bytes[1];
  if (kind === KIND_NORMAL) {
    return { sessionId, x3dh: undefined, ratchetMessage: bytes.subarray(HEADER_LENGTH) };
  }
  if (kind !== KIND_FIRST) throw new ProtocolError("malformed", "Body is of an unknown kind");
  if (bytes.length < HEADER_LENGTH + 2) throw new ProtocolError("malformed", "Body is too short");
  const length = readU16(bytes, HEADER_LENGTH);
  const start = HEADER_LENGTH + 2;
  if (length > MAX_X3DH_LENGTH || start + length > bytes.length) {
    throw new ProtocolError("malformed", "X3DH data does not fit");
  }
  return {
    sessionId,
    x3dh: decodeX3dhData(bytes.subarray(start, start + length)),
    ratchetMessage: bytes.subarray(start + length),
  };
}

/** CBOR form of the X3DH data, also used in local storage. */
export function encodeX3dhData(data: X3dhData): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, data.identityKey],
      [1, data.x3dhKey],
      [2, data.x3dhCertificate],
      [3, data.ephemeralKey],
      [4, data.signedPrekeyId],
      [5, data.oneTimePrekeyId ?? null],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeX3dhData(bytes: Uint8Array): X3dhData {
  const map = decodeCborMap(bytes);
  return {
    identityKey: map.bytes(0, 32),
    x3dhKey: map.bytes(1, 32),
    x3dhCertificate: map.bytes(2, 64),
    ephemeralKey: map.bytes(3, 32),
    signedPrekeyId: map.uint(4, 0xffff_ffff),
    oneTimePrekeyId: map.has(5) ? map.uint(5, 0xffff_ffff) : undefined,
  };
}

/** What the sender says to the reader, authentic end to end. */
export interface Message {
  /** 16 bytes, UUIDv7; the same however often the message is encrypted again. */
  readonly id: Uint8Array;
  /** Counts the messages of this sender to this reader, from 1. */
  readonly sequence: number;
  readonly channel: string;
  /** Unix milliseconds by the sender's clock. */
  readonly sentAt: number;
  readonly data: Uint8Array;
  /**
   * How many broadcasts of this sender came before and were not for this reader; only in the first
   * that is for it.
   */
  readonly unreadable?: number;
}

/** CBOR form of a message: the plaintext of the ratchet. */
export function encodeMessage(message: Message): Uint8Array {
  const map = new Map<number, CborValue>([
    [0, message.id],
    [1, message.sequence],
    [2, message.channel],
    [3, message.sentAt],
    [4, message.data],
  ]);
  if (message.unreadable !== undefined) map.set(7, message.unreadable);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodeMessage(plaintext: Uint8Array): Message {
  const map = decodeCborMap(plaintext);
  return {
    id: map.bytes(0, 16).slice(),
    sequence: map.uint(1),
    channel: map.text(2, MAX_CHANNEL_LENGTH),
    sentAt: map.uint(3),
    data: map.bytesUpTo(4, plaintext.length),
    ...(map.has(7) && { unreadable: map.uint(7) }),
  };
}
