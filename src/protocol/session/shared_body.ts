import { concatBytes, equalBytes, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { chacha20Poly1305, KEY_LENGTH, sha256 } from "../crypto/primitives.ts";
import { MAX_CHANNEL_LENGTH } from "../message_types.ts";
import type { Message } from "./message_body.ts";

/*
 * A message to several readers is encrypted once, under a random key of its own. Each reader learns
 * that key in its own session, together with the SHA-256 of the ciphertext: whoever else knows the
 * key, and holds the mailbox, still cannot put another body in its place.
 */

const CONTEXT = utf8("cairn-shared-body-v1");
/** The key is for this one body. */
const NONCE = new Uint8Array(12);
const HASH_LENGTH = 32;

/** What is the same for all readers. */
export type SharedContent = Pick<Message, "id" | "channel" | "sentAt" | "data">;

/** How to open a shared body, and how to know it. */
export interface BodyKey {
  /** 32 random bytes, for this body only. */
  readonly key: Uint8Array;
  /** SHA-256 of the encrypted body. */
  readonly hash: Uint8Array;
}

/** What one reader alone is told. */
export type SharedNote = Pick<Message, "id" | "sequence" | "unreadable"> & BodyKey;

/** Encrypts what all readers get. `key` is fresh. */
export function sealShared(content: SharedContent, key: Uint8Array): Uint8Array {
  const { id, channel, sentAt, data } = content;
  const plaintext = encodeCbor(
    new Map<number, CborValue>([[2, channel], [3, sentAt], [4, data]]),
  );
  return chacha20Poly1305.seal(key, NONCE, concatBytes(CONTEXT, id), plaintext);
}

/**
 * Opens what all readers get.
 *
 * @throws {ProtocolError} `decryption-failed`, also when it is not the one that `hash` names; `malformed`.
 */
export function openShared(
  body: Uint8Array,
  { id, key, hash }: BodyKey & Pick<Message, "id">,
): SharedContent {
  if (!equalBytes(sha256(body), hash)) {
    throw new ProtocolError("decryption-failed", "The shared body is not the sender's");
  }
  const plaintext = chacha20Poly1305.open(key, NONCE, concatBytes(CONTEXT, id), body);
  const map = decodeCborMap(plaintext);
  return {
    id,
    channel: map.text(2, MAX_CHANNEL_LENGTH),
    sentAt: map.uint(3),
    data: map.bytesUpTo(4, plaintext.length),
  };
}

/** CBOR form of what one reader is told: the plaintext of the ratchet. */
export function encodeNote({ id, sequence, key, hash, unreadable }: SharedNote): Uint8Array {
  const map = new Map<number, CborValue>([[0, id], [1, sequence], [5, key], [6, hash]]);
  if (unreadable !== undefined) map.set(7, unreadable);
  return encodeCbor(map);
}

/** The message that a note and the body beside it make. @throws {ProtocolError} as `openShared`. */
export function decodeWithShared(plaintext: Uint8Array, body: Uint8Array): Message {
  const map = decodeCborMap(plaintext);
  const id = map.bytes(0, 16).slice();
  const sequence = map.uint(1);
  const content = openShared(body, {
    id,
    key: map.bytes(5, KEY_LENGTH),
    hash: map.bytes(6, HASH_LENGTH),
  });
  return { ...content, sequence, ...(map.has(7) && { unreadable: map.uint(7) }) };
}
