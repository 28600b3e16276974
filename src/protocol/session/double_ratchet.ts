/**
 * The Double Ratchet (Perrin and Marlinspike, revision 1) with the reference implementation's key
 * derivations and JSON header: docs/wire_format.md section 6.3.
 *
 * A state is a value: every step returns the next one and leaves the given one as it was. The
 * returned state must be durable before its message leaves or its plaintext counts as received.
 */

import { equalBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { aes256Gcm, type KeyPair, x25519 } from "../crypto/primitives.ts";
import { chainStep, messageNonce, rootStep } from "./ratchet_keys.ts";
import { encodeRatchetHeader, joinRatchetMessage, splitRatchetMessage } from "./ratchet_message.ts";
import { MAX_NUMBER, MAX_SKIPPED_KEYS, type RatchetState } from "./ratchet_state.ts";

/** How many messages of one chain may be missing before the next that arrives. */
export const MAX_SKIP = 1_000;

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
    state.sendNumber < MAX_NUMBER;
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
    throw new ProtocolError("malformed", "Ratchet key is not usable", { cause });
  }
}
