import { ProtocolError } from "../base/errors.ts";
import { decodeCborMap, encodeCbor } from "./cbor.ts";
import { FixedReader, FixedWriter } from "./cbor_fixed.ts";
import type { CborValue } from "./cbor_value.ts";

/** The only envelope version. */
export const ENVELOPE_VERSION = 1;

const ID_LENGTH = 16;
/** A map of four: the version, then the keys of the type, the id and the payload. */
const UP_TO_TYPE = Uint8Array.of(0xa4, 0, ENVELOPE_VERSION, 1);
const ID = Uint8Array.of(2);
const PAYLOAD = Uint8Array.of(4);
const CONSTANTS_LENGTH = UP_TO_TYPE.length + ID.length + PAYLOAD.length;

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
  if (!envelope.sessionId && !envelope.authTag) return encodePlain(envelope);
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
  const plain = decodePlain(bytes);
  if (plain !== undefined) return plain;
  const map = decodeCborMap(bytes);
  if (map.uint(0, 0xff) !== ENVELOPE_VERSION) {
    throw new ProtocolError("unsupported-version", "Envelope has an unknown version");
  }
  return {
    type: map.uint(1, 0xffff),
    id: map.bytes(2, ID_LENGTH),
    ...(map.has(3) && { sessionId: map.bytes(3, 32) }),
    payload: map.bytes(4),
    ...(map.has(5) && { authTag: map.bytes(5) }),
  };
}

/** An envelope of nothing but type, id and payload, as all are on links. */
function encodePlain({ type, id, payload }: Envelope): Uint8Array<ArrayBuffer> {
  return new FixedWriter(CONSTANTS_LENGTH + id.length + payload.length, 3)
    .constant(UP_TO_TYPE).uint(type)
    .constant(ID).bytes(id)
    .constant(PAYLOAD).bytes(payload)
    .finish();
}

/** The same, or `undefined` for bytes in any other form. */
function decodePlain(bytes: Uint8Array): Envelope | undefined {
  const reader = new FixedReader(bytes);
  reader.constant(UP_TO_TYPE);
  const type = reader.uint();
  reader.constant(ID);
  const id = reader.bytes(ID_LENGTH);
  reader.constant(PAYLOAD);
  const payload = reader.bytes();
  return reader.isWhole && type <= 0xffff ? { type, id, payload } : undefined;
}
