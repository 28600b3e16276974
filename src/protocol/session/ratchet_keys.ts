/** The key derivations of the Double Ratchet: docs/wire_format.md section 6.3. */

import { concatBytes, u32 } from "../../base/bytes.ts";
import { hkdfSha256, KEY_LENGTH } from "../crypto/primitives.ts";

/** KDF_RK: the next root key and the first key of a new chain, 32 bytes each. */
export function rootStep(rootKey: Uint8Array, dhOutput: Uint8Array): [Uint8Array, Uint8Array] {
  const output = hkdfSha256(dhOutput, rootKey, "cairn-root-chain-v1", 2 * KEY_LENGTH);
  return [output.slice(0, KEY_LENGTH), output.slice(KEY_LENGTH)];
}

/** KDF_CK: the next key of a chain and the key of one message, 32 bytes each. */
export function chainStep(chainKey: Uint8Array): { chainKey: Uint8Array; messageKey: Uint8Array } {
  return {
    chainKey: hkdfSha256(chainKey, undefined, "cairn-chain-advance-v1", KEY_LENGTH),
    messageKey: hkdfSha256(chainKey, undefined, "cairn-msg-encrypt-v1", KEY_LENGTH),
  };
}

/** AES-256-GCM nonce, 12 bytes. A message key encrypts once, so any value would do. */
export function messageNonce(messageKey: Uint8Array, number: number): Uint8Array {
  return concatBytes(messageKey.subarray(0, 8), u32(number));
}
