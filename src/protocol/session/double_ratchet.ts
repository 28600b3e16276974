/**
 * The Double Ratchet (Perrin and Marlinspike, revision 1) with the reference implementation's key
 * derivations and JSON header: docs/wire_format.md section 6.3.
 *
 * A state is a value: every step returns the next one and leaves the given one as it was. The
 * returned state must be durable before its message leaves or its plaintext counts as received.
 */

import { concatBytes, equalBytes, readU16, readU32, u16, u32 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import {
  aes256Gcm,
  KEY_LENGTH,
  type KeyPair,
  x25519,
  x25519KeyPair,
} from "../crypto/primitives.ts";
import { chainStep, messageNonce, rootStep } from "./ratchet_keys.ts";
import { encodeRatchetHeader, joinRatchetMessage, splitRatchetMessage } from "./ratchet_message.ts";

/** How many messages of one chain may be missing before the next that arrives. */
export const MAX_SKIP = 1_000;
/** How many keys of missing messages are kept; beyond it the oldest go. */
export const MAX_SKIPPED_KEYS = 2_000;

const MAX_U32 = 0xffff_ffff;
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

/**
 * Sending chain keys that have encrypted. Every state derived without a new sending chain shares
 * the array, so a forked session is caught here before it repeats a key and nonce.
 */
const spentChainKeys = new WeakSet<Uint8Array>();

/** Starts the side that sends first. `remotePublicKey` is the responder's first ratchet key. */
export function initiateRatchet(
  sharedSecret: Uint8Array,
  remotePublicKey: Uint8Array,
  ownPair: KeyPair,
): RatchetState {
  const [rootKey, sendChain] = rootStep(sharedSecret, x25519(ownPair.secret, remotePublicKey));
  return {
    ownPair,
    remotePublicKey: remotePublicKey.slice(),
    rootKey,
    sendChain,
    receiveChain: undefined,
    sendNumber: 0,
    receiveNumber: 0,
    previousSendCount: 0,
    skipped: [],
  };
}

/** Starts the side whose public key the initiator knows. It can send once it has received. */
export function respondRatchet(sharedSecret: Uint8Array, ownPair: KeyPair): RatchetState {
  return {
    ownPair,
    remotePublicKey: undefined,
    rootKey: sharedSecret.slice(),
    sendChain: undefined,
    receiveChain: undefined,
    sendNumber: 0,
    receiveNumber: 0,
    previousSendCount: 0,
    skipped: [],
  };
}

/** Whether {@linkcode ratchetEncrypt} would work. */
export function canSend(state: RatchetState): boolean {
  return state.sendChain !== undefined && !spentChainKeys.has(state.sendChain) &&
    state.sendNumber < MAX_U32;
}

/**
 * Encrypts one message: `u32 header length ‖ header ‖ ciphertext ‖ tag`.
 *
 * The returned state takes the place of the given one and is durable before `message` leaves. After
 * a failed commit, read the state from storage again: a state that has encrypted once never does a
 * second time, nor does one that was derived from it by receiving on the same chain.
 *
 * @throws {TypeError} when the state cannot send, see {@linkcode canSend}.
 */
export function ratchetEncrypt(
  state: RatchetState,
  plaintext: Uint8Array,
): { state: RatchetState; message: Uint8Array } {
  const { sendChain, sendNumber } = state;
  if (sendChain === undefined || !canSend(state)) {
    throw new TypeError("Ratchet state cannot encrypt: no sending chain, or used before");
  }
  spentChainKeys.add(sendChain);
  const { chainKey, messageKey } = chainStep(sendChain);
  const header = encodeRatchetHeader({
    publicKey: state.ownPair.publicKey,
    previousCount: state.previousSendCount,
    number: sendNumber,
  });
  const nonce = messageNonce(messageKey, sendNumber);
  const ciphertext = aes256Gcm.seal(messageKey, nonce, header, plaintext);
  return {
    state: { ...state, sendChain: chainKey, sendNumber: sendNumber + 1 },
    message: joinRatchetMessage(header, ciphertext),
  };
}

/**
 * Decrypts one message, in any order within the limits.
 *
 * @param newPair Fresh random pair: becomes this side's ratchet key if the message starts a new
 * chain, and is ignored otherwise.
 * @throws {ProtocolError} `malformed`, `too-large` (more than {@linkcode MAX_SKIP} missing) or
 * `decryption-failed` (forged, damaged, or received before).
 */
export function ratchetDecrypt(
  state: RatchetState,
  message: Uint8Array,
  newPair: KeyPair,
): { state: RatchetState; plaintext: Uint8Array } {
  const { headerBytes, header, ciphertext } = splitRatchetMessage(message);
  const open = (messageKey: Uint8Array) =>
    aes256Gcm.open(messageKey, messageNonce(messageKey, header.number), headerBytes, ciphertext);

  const kept = state.skipped.find((entry) =>
    entry.number === header.number && equalBytes(entry.publicKey, header.publicKey)
  );
  if (kept !== undefined) {
    const plaintext = open(kept.messageKey);
    return {
      state: { ...state, skipped: state.skipped.filter((entry) => entry !== kept) },
      plaintext,
    };
  }

  let next = state;
  if (
    state.remotePublicKey === undefined || !equalBytes(state.remotePublicKey, header.publicKey)
  ) {
    next = dhStep(skipTo(state, header.previousCount), header.publicKey, newPair);
  }
  next = skipTo(next, header.number);
  if (next.receiveChain === undefined || header.number < next.receiveNumber) {
    throw new ProtocolError("decryption-failed", "Ratchet message was received before");
  }
  const { chainKey, messageKey } = chainStep(next.receiveChain);
  const plaintext = open(messageKey);
  return {
    state: { ...next, receiveChain: chainKey, receiveNumber: header.number + 1 },
    plaintext,
  };
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
    sendNumber: map.uint(6, MAX_U32),
    // One past the last number: a chain that has ended.
    receiveNumber: map.uint(7, MAX_U32 + 1),
    previousSendCount: map.uint(8, MAX_U32),
    skipped: decodeSkipped(map.bytesUpTo(9, MAX_SKIPPED_BYTES)),
  };
}

/** Keeps the keys of the receiving chain from its next number up to, not including, `until`. */
function skipTo(state: RatchetState, until: number): RatchetState {
  let { receiveChain, receiveNumber } = state;
  if (receiveChain === undefined || state.remotePublicKey === undefined) return state;
  if (until <= receiveNumber) return state;
  if (until - receiveNumber > MAX_SKIP) {
    throw new ProtocolError("too-large", "Ratchet message leaves too many missing before it");
  }
  const skipped = state.skipped.slice();
  for (; receiveNumber < until; receiveNumber++) {
    const { chainKey, messageKey } = chainStep(receiveChain);
    skipped.push({ publicKey: state.remotePublicKey, number: receiveNumber, messageKey });
    receiveChain = chainKey;
  }
  return { ...state, receiveChain, receiveNumber, skipped: skipped.slice(-MAX_SKIPPED_KEYS) };
}

/** Receives on a new chain of the remote's and prepares a new one of ours. */
function dhStep(state: RatchetState, remotePublicKey: Uint8Array, newPair: KeyPair): RatchetState {
  const [receiveRoot, receiveChain] = rootStep(
    state.rootKey,
    remoteDh(state.ownPair, remotePublicKey),
  );
  const [rootKey, sendChain] = rootStep(receiveRoot, remoteDh(newPair, remotePublicKey));
  return {
    ownPair: newPair,
    remotePublicKey,
    rootKey,
    sendChain,
    receiveChain,
    sendNumber: 0,
    receiveNumber: 0,
    previousSendCount: state.sendNumber,
    skipped: state.skipped,
  };
}

function remoteDh(pair: KeyPair, remotePublicKey: Uint8Array): Uint8Array {
  try {
    return x25519(pair.secret, remotePublicKey);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw malformed("Ratchet key is not usable", cause);
  }
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
    if (bytes.length - offset < length) throw malformed("Ratchet state is truncated");
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

function malformed(message: string, cause?: unknown): ProtocolError {
  return new ProtocolError("malformed", message, { cause });
}
