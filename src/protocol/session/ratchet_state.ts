/** What one side of a ratchet knows, and its form for local storage. */

import { concatBytes, equalBytes, readU16, readU32, u16, u32 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { KEY_LENGTH, type KeyPair, x25519KeyPair } from "../crypto/primitives.ts";

/** How many keys of missing messages are kept; beyond it the oldest go. */
export const MAX_SKIPPED_KEYS = 2_000;
/** The highest number of a message. */
export const MAX_NUMBER = 0xffff_ffff;

const STATE_VERSION = 1;
/** Public key, count, then number and key of each. */
const MAX_SKIPPED_BYTES = MAX_SKIPPED_KEYS * (KEY_LENGTH + 2 + 4 + KEY_LENGTH);

/** The key of a message that has not arrived yet. */
export interface SkippedKey {
  /** The sender's ratchet key of that chain. */
  readonly publicKey: Uint8Array;
  readonly number: number;
  readonly messageKey: Uint8Array;
}

/** One side of a session. Secret in every field; local storage only. */
export interface RatchetState {
  readonly ownPair: KeyPair;
  /** Unknown to a responder until the first message. */
  readonly remotePublicKey: Uint8Array | undefined;
  readonly rootKey: Uint8Array;
  readonly sendChain: Uint8Array | undefined;
  readonly receiveChain: Uint8Array | undefined;
  /** Number of the next message to send; {@linkcode receiveNumber} of the next to arrive. */
  readonly sendNumber: number;
  readonly receiveNumber: number;
  /** How many messages the sending chain before this one had. */
  readonly previousSendCount: number;
  /** Oldest first. */
  readonly skipped: readonly SkippedKey[];
}

/** Encodes for local storage, at most 142 KB (72 KB when two chains have all the skipped keys). Secret. */
export function encodeRatchetState(state: RatchetState): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, STATE_VERSION],
      [1, state.ownPair.secret],
      [2, state.remotePublicKey ?? null],
      [3, state.rootKey],
      [4, state.sendChain ?? null],
      [5, state.receiveChain ?? null],
      [6, state.sendNumber],
      [7, state.receiveNumber],
      [8, state.previousSendCount],
      [9, encodeSkipped(state.skipped)],
    ]),
  );
}

/** @throws {ProtocolError} `malformed` or `unsupported-version`. */
export function decodeRatchetState(bytes: Uint8Array): RatchetState {
  const map = decodeCborMap(bytes);
  if (map.uint(0) !== STATE_VERSION) {
    throw new ProtocolError("unsupported-version", "Ratchet state has another version");
  }
  const key = (field: number) => map.bytes(field, KEY_LENGTH).slice();
  const optionalKey = (field: number) => map.has(field) ? key(field) : undefined;
  return {
    ownPair: x25519KeyPair(key(1)),
    remotePublicKey: optionalKey(2),
    rootKey: key(3),
    sendChain: optionalKey(4),
    receiveChain: optionalKey(5),
    sendNumber: map.uint(6, MAX_NUMBER),
    // One past the last number: a chain that has ended.
    receiveNumber: map.uint(7, MAX_NUMBER + 1),
    previousSendCount: map.uint(8, MAX_NUMBER),
    skipped: decodeSkipped(map.bytesUpTo(9, MAX_SKIPPED_BYTES)),
  };
}

/** Runs of one chain: `public key (32) ‖ u16 count ‖ count × (u32 number ‖ key (32))`. */
function encodeSkipped(skipped: readonly SkippedKey[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let start = 0; start < skipped.length;) {
    const { publicKey } = skipped[start]!;
    let end = start + 1;
    while (end < skipped.length && equalBytes(skipped[end]!.publicKey, publicKey)) end++;
    parts.push(publicKey, u16(end - start));
    for (; start < end; start++) {
      parts.push(u32(skipped[start]!.number), skipped[start]!.messageKey);
    }
  }
  return concatBytes(...parts);
}

function decodeSkipped(bytes: Uint8Array): SkippedKey[] {
  const skipped: SkippedKey[] = [];
  let offset = 0;
  const need = (length: number) => {
    if (bytes.length - offset < length) {
      throw new ProtocolError("malformed", "Ratchet state is truncated");
    }
  };
  while (offset < bytes.length) {
    need(KEY_LENGTH + 2);
    const publicKey = bytes.slice(offset, offset += KEY_LENGTH);
    const count = readU16(bytes, offset);
    offset += 2;
    need(count * (4 + KEY_LENGTH));
    for (let i = 0; i < count; i++) {
      const number = readU32(bytes, offset);
      const messageKey = bytes.slice(offset + 4, offset += 4 + KEY_LENGTH);
      skipped.push({ publicKey, number, messageKey });
    }
  }
  return skipped;
}
