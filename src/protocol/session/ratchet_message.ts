/** The frame of a Double Ratchet message and its JSON header: docs/wire_format.md section 6.3. */

import { concatBytes, fromUtf8, readU32, u32, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { KEY_LENGTH, TAG_LENGTH } from "../crypto/primitives.ts";

const MAX_HEADER_LENGTH = 512;
const MAX_U32 = 0xffff_ffff;

/** What goes with a ciphertext in clear, authenticated. */
export interface RatchetHeader {
  /** The sender's ratchet key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** How many messages the sender's chain before this one had. */
  readonly previousCount: number;
  /** Position in the chain, from 0. */
  readonly number: number;
}

/** The header as the reference implementation writes it. */
export function encodeRatchetHeader(
  { publicKey, previousCount, number }: RatchetHeader,
): Uint8Array {
  return utf8(
    `{"dh_public":[${publicKey.join(",")}],"prev_chain_len":${previousCount},"msg_num":${number}}`,
  );
}

/** Joins the parts: `u32 header length ‖ header ‖ ciphertext and tag`. */
export function joinRatchetMessage(header: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return concatBytes(u32(header.length), header, ciphertext);
}

/**
 * Takes a message apart. The header's bytes, as received, are the associated data.
 *
 * @throws {ProtocolError} `malformed`.
 */
export function splitRatchetMessage(
  message: Uint8Array,
): { headerBytes: Uint8Array; header: RatchetHeader; ciphertext: Uint8Array } {
  const headerLength = message.length < 4 ? 0 : readU32(message, 0);
  if (headerLength === 0 || headerLength > MAX_HEADER_LENGTH) {
    throw malformed("Ratchet header has an impossible length");
  }
  if (message.length < 4 + headerLength + TAG_LENGTH) {
    throw malformed("Ratchet message is too short");
  }
  const headerBytes = message.slice(4, 4 + headerLength);
  const ciphertext = message.subarray(4 + headerLength);
  return { headerBytes, header: decodeHeader(headerBytes), ciphertext };
}

/** Keys in any order, as some writers sort them; numbers in plain decimal digits only. */
function decodeHeader(bytes: Uint8Array): RatchetHeader {
  let value: unknown;
  try {
    const text = fromUtf8(bytes);
    // JSON also allows signs, fractions, exponents and escapes, for which a header has no use.
    if (/[-+.\\]|[0-9][eE]/.test(text)) throw new SyntaxError("Not a plain header");
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed("Ratchet header is not JSON", cause);
  }
  if (typeof value !== "object" || value === null) throw malformed("Ratchet header is no object");
  if (!("dh_public" in value && "prev_chain_len" in value && "msg_num" in value)) {
    throw malformed("Ratchet header lacks a field");
  }
  const { dh_public: key, prev_chain_len: previousCount, msg_num: number } = value;
  if (!Array.isArray(key) || key.length !== KEY_LENGTH || !key.every((n) => isUint(n, 255))) {
    throw malformed("Ratchet header has no key of 32 bytes");
  }
  if (!isUint(previousCount, MAX_U32) || !isUint(number, MAX_U32)) {
    throw malformed("Ratchet header has a number out of range");
  }
  return { publicKey: Uint8Array.from(key), previousCount, number };
}

function isUint(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

function malformed(message: string, cause?: unknown): ProtocolError {
  return new ProtocolError("malformed", message, { cause });
}
