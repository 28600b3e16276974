import { decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";
import { MAX_CHANNEL_LENGTH } from "./message_types.ts";

/* Payloads 0x0740 and 0x0741. */

/** A message that nobody keeps: it is for whoever is at the other end of this link now. */
export interface TransientData {
  /** Names the message in its answer; the sender's count on this link. */
  readonly number: number;
  /** At most 255 bytes. */
  readonly channel: string;
  /** When decoded, a view on the payload. */
  readonly data: Uint8Array;
}

export function encodeTransientData(
  { number, channel, data }: TransientData,
): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map<number, CborValue>([[0, number], [1, channel], [2, data]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeTransientData(payload: Uint8Array): TransientData {
  const map = decodeCborMap(payload);
  return { number: map.uint(0), channel: map.text(1, MAX_CHANNEL_LENGTH), data: map.bytes(2) };
}

/** What became of a TransientData. */
export interface TransientAck {
  readonly number: number;
  /** False when nobody there wanted it. */
  readonly taken: boolean;
}

export function encodeTransientAck({ number, taken }: TransientAck): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map<number, CborValue>([[0, number], [1, taken]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeTransientAck(payload: Uint8Array): TransientAck {
  const map = decodeCborMap(payload);
  return { number: map.uint(0), taken: map.boolean(1) };
}
