import { ProtocolError } from "../base/errors.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";
import { PeerId } from "./crypto/peer_id.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

/* Payloads 0x0710 to 0x0712. */

const PEER_ID_LENGTH = 34;
const KEY_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
const MAX_SIGNED_PART_LENGTH = 1_024;
/** Most one-time prekeys in one PrekeyPublish. */
export const MAX_ONE_TIME_PREKEYS = 200;

/** The public half of a one-time prekey. */
export interface OneTimePrekey {
  /** 32 bits. */
  readonly id: number;
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** Gives a mailbox the prekeys of the peer on the link. Decoded byte fields are views. */
export interface PrekeyPublish {
  /** The signed part of a bundle, at most 1,024 bytes. */
  readonly signedPart: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** At most 200. */
  readonly oneTimePrekeys: readonly OneTimePrekey[];
  /** Forgets the one-time prekeys that were published before. */
  readonly replaceAll: boolean;
}

export function encodePrekeyPublish(message: PrekeyPublish): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, message.signedPart],
      [1, message.signature],
      [2, message.oneTimePrekeys.map(({ id, publicKey }) => [id, publicKey])],
      [3, message.replaceAll],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodePrekeyPublish(payload: Uint8Array): PrekeyPublish {
  const map = decodeCborMap(payload);
  return {
    signedPart: map.bytesUpTo(0, MAX_SIGNED_PART_LENGTH),
    signature: map.bytes(1, SIGNATURE_LENGTH),
    oneTimePrekeys: map.rows(2, 2, MAX_ONE_TIME_PREKEYS).map(readOneTimePrekey),
    replaceAll: map.boolean(3),
  };
}

/** Asks a mailbox for prekeys of `peerId`. */
export interface PrekeyFetch {
  readonly peerId: PeerId;
}

export function encodePrekeyFetch(message: PrekeyFetch): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([[0, message.peerId.bytes]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodePrekeyFetch(payload: Uint8Array): PrekeyFetch {
  return { peerId: PeerId.fromBytes(decodeCborMap(payload).bytes(0, PEER_ID_LENGTH)) };
}

/** Answers a {@linkcode PrekeyFetch}: a signed part with its signature, or the reason why not. */
export interface PrekeyBundle {
  readonly peerId: PeerId;
  readonly signedPart: Uint8Array | null;
  readonly signature: Uint8Array | null;
  /** Null when none is left. */
  readonly oneTimePrekey: OneTimePrekey | null;
  readonly reason: string | null;
}

export function encodePrekeyBundle(message: PrekeyBundle): Uint8Array<ArrayBuffer> {
  const { oneTimePrekey } = message;
  return encodeCbor(
    new Map<number, CborValue>([
      [0, message.peerId.bytes],
      [1, message.signedPart],
      [2, message.signature],
      [3, oneTimePrekey && [oneTimePrekey.id, oneTimePrekey.publicKey]],
      [4, message.reason],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodePrekeyBundle(payload: Uint8Array): PrekeyBundle {
  const map = decodeCborMap(payload);
  if (map.has(1) !== map.has(2) || (map.has(3) && !map.has(1))) {
    throw new ProtocolError("malformed", "Prekey bundle is incomplete");
  }
  return {
    peerId: PeerId.fromBytes(map.bytes(0, PEER_ID_LENGTH)),
    signedPart: map.has(1) ? map.bytesUpTo(1, MAX_SIGNED_PART_LENGTH) : null,
    signature: map.has(2) ? map.bytes(2, SIGNATURE_LENGTH) : null,
    oneTimePrekey: map.has(3) ? readOneTimePrekey(map.row(3, 2)) : null,
    reason: map.has(4) ? map.text(4, MAX_TEXT_LENGTH) : null,
  };
}

function readOneTimePrekey(row: CborMap): OneTimePrekey {
  return { id: row.uint(0, 0xffff_ffff), publicKey: row.bytes(1, KEY_LENGTH) };
}
