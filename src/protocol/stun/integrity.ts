/** What protects a STUN message: MESSAGE-INTEGRITY, its SHA-256 form, and FINGERPRINT. */

import { md5 } from "@noble/hashes/legacy.js";
import { utf8, writeU16 } from "../../base/bytes.ts";
import { hmacSha1, hmacSha256 } from "../crypto/hmac.ts";
import { sha256 } from "../crypto/primitives.ts";

/** How a password becomes a key (RFC 8489 section 18.5). */
export type PasswordAlgorithm = "md5" | "sha-256";

/** Which of the two integrity attributes: MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256. */
export type IntegrityKind = "sha1" | "sha256";

/** What a message is signed with. */
export interface Integrity {
  readonly kind: IntegrityKind;
  readonly key: Uint8Array;
}

/** Length of each attribute's value; truncated tags (RFC 8489 section 14.6) are not for TURN. */
export const TAG_LENGTHS: Readonly<Record<IntegrityKind, number>> = { sha1: 20, sha256: 32 };

const FINGERPRINT_XOR = 0x5354554e;
const CRC_TABLE = crcTable();
const HEADER_LENGTH = 20;
/** The header of the message at hand, as it is signed. */
const signedHeader = new Uint8Array(HEADER_LENGTH);

/**
 * The key of a long-term credential (RFC 8489 section 9.2.2): 16 bytes for MD5, 32 for SHA-256.
 * All three texts have been through OpaqueString (RFC 8265) before.
 */
export function longTermKey(
  algorithm: PasswordAlgorithm,
  username: string,
  realm: string,
  password: string,
): Uint8Array {
  const text = utf8(`${username}:${realm}:${password}`);
  return algorithm === "md5" ? md5(text) : sha256(text);
}

/** USERHASH of a user (RFC 8489 section 14.4), 32 bytes; both texts are prepared. */
export function userHash(username: string, realm: string): Uint8Array {
  return sha256(utf8(`${username}:${realm}`));
}

/**
 * The value of the integrity attribute that begins at `end`: an HMAC over what lies before it, with
 * the header's length counted to the end of the attribute (RFC 8489 sections 14.5 and 14.6).
 */
export function integrityTag(
  { kind, key }: Integrity,
  message: Uint8Array,
  end: number,
): Uint8Array {
  const length = end - HEADER_LENGTH + 4 + TAG_LENGTHS[kind];
  signedHeader.set(message.subarray(0, HEADER_LENGTH));
  writeU16(signedHeader, 2, length);
  const hmac = kind === "sha1" ? hmacSha1 : hmacSha256;
  return hmac(key, signedHeader, message.subarray(HEADER_LENGTH, end));
}

/**
 * FINGERPRINT of the message in `buffer[start, end)`, as a signed 32-bit integer; `end` is where
 * the attribute begins (RFC 8489 section 14.7). The header's length already counts the attribute.
 */
export function fingerprint(buffer: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let i = start; i < end; i++) crc = CRC_TABLE[(crc ^ buffer[i]!) & 0xff]! ^ crc >>> 8;
  return ~crc ^ FINGERPRINT_XOR;
}

/** CRC-32 of ITU V.42, byte by byte. */
function crcTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
    return crc;
  });
}
