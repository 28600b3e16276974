import { ProtocolError } from "../base/errors.ts";
import { decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";

/** The only envelope version. */
export const ENVELOPE_VERSION = 1;

/** The frame around every message of a link. Decoded byte fields are views on the input. */
export interface Envelope {
  /** Message type, 16 bits; the known ones are in `MessageType`. */
  readonly type: number;
  /** 16 bytes, UUIDv7. */
  readonly id: Uint8Array;
  /** 32 bytes. */
  readonly sessionId?: Uint8Array;
  readonly payload: Uint8Array;
  readonly authTag?: Uint8Array;
}

/** Encodes `envelope` as the CBOR map of the reference, keys ascending. */
export function encodeEnvelope(envelope: Envelope): Uint8Array<ArrayBuffer> {
  const map = new Map<number, CborValue>([
    [0, ENVELOPE_VERSION],
    [1, envelope.type],
    [2, envelope.id],
  ]);
  if (envelope.sessionId) map.set(3, envelope.sessionId);
  map.set(4, envelope.payload);
  if (envelope.authTag) map.set(5, envelope.authTag);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`, or `unsupported-version`. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const map = decodeCborMap(bytes);
  if (map.uint(0, 0xff) !== ENVELOPE_VERSION) {
    throw new ProtocolError("unsupported-version", "Envelope has an unknown version");
  }
  return {
    type: map.uint(1, 0xffff),
    id: map.bytes(2, 16),
    ...(map.has(3) && { sessionId: map.bytes(3, 32) }),
    payload: map.bytes(4),
    ...(map.has(5) && { authTag: map.bytes(5) }),
  };
}
