/**
 * HMAC (RFC 2104) on hash objects that are used again and again. A library makes new ones for every
 * tag, with arrays that V8 asks the system for: it takes longer than to hash a request.
 */

import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { CHash, Hash } from "@noble/hashes/utils.js";

const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** HMAC with one hash function. Between two tags it knows nothing of key and message. */
class Hmac<T extends Hash<T>> {
  readonly #hash: CHash<T>;
  /** As it is before the first byte. */
  readonly #initial: T;
  readonly #work: T;
  readonly #block: Uint8Array;
  readonly #inner: Uint8Array;

  constructor(hash: CHash<T>) {
    this.#hash = hash;
    this.#initial = hash.create();
    this.#work = hash.create();
    this.#block = new Uint8Array(hash.blockLen);
    this.#inner = new Uint8Array(hash.outputLen);
  }

  /** The tag of `parts`, one behind the other. */
  tag(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
    const block = this.#block;
    const inner = this.#inner;
    const tag = new Uint8Array(inner.length);
    try {
      block.set(key.length > block.length ? this.#hash(key) : key);
      this.#mask(INNER_PAD);
      this.#digest(parts, inner);
      this.#mask(INNER_PAD ^ OUTER_PAD);
      this.#digest([inner], tag);
      return tag;
    } finally {
      block.fill(0);
      inner.fill(0);
      this.#work.destroy();
    }
  }

  #digest(parts: readonly Uint8Array[], into: Uint8Array): void {
    const work = this.#initial._cloneInto(this.#work).update(this.#block);
    for (const part of parts) work.update(part);
    work.digestInto(into);
  }

  #mask(pad: number): void {
    const block = this.#block;
    for (let i = 0; i < block.length; i++) block[i]! ^= pad;
  }
}

const withSha1 = new Hmac(sha1);
const withSha256 = new Hmac(sha256);

/** HMAC-SHA1 over the concatenation of `parts`, 20 bytes. */
export function hmacSha1(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return withSha1.tag(key, parts);
}

/** HMAC-SHA256 over the concatenation of `parts`, 32 bytes. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return withSha256.tag(key, parts);
}
