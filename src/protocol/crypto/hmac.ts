/**
 * HMAC (RFC 2104) on hash objects that are used again and again. A library makes new ones for every
 * tag, with arrays that V8 asks the system for: it takes longer than to hash a request.
 */

import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { CHash, Hash } from "@noble/hashes/utils.js";

const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** HMAC with one hash function, under one key at a time. */
class Hmac<T extends Hash<T>> {
  readonly #hash: CHash<T>;
  /** As it is before the first byte. */
  readonly #initial: T;
  /** As they are behind the blocks of the key. */
  readonly #inner: T;
  readonly #outer: T;
  readonly #work: T;
  readonly #block: Uint8Array;
  readonly #digest: Uint8Array;

  constructor(hash: CHash<T>) {
    this.#hash = hash;
    this.#initial = hash.create();
    this.#inner = hash.create();
    this.#outer = hash.create();
    this.#work = hash.create();
    this.#block = new Uint8Array(hash.blockLen);
    this.#digest = new Uint8Array(hash.outputLen);
  }

  setKey(key: Uint8Array): void {
    const block = this.#block;
    block.set(key.length > block.length ? this.#hash(key) : key);
    this.#mask(INNER_PAD);
    this.#initial._cloneInto(this.#inner).update(block);
    this.#mask(INNER_PAD ^ OUTER_PAD);
    this.#initial._cloneInto(this.#outer).update(block);
    block.fill(0);
  }

  /** The tag of `parts`, one behind the other. */
  tag(parts: readonly Uint8Array[]): Uint8Array {
    const digest = this.#digest;
    const tag = new Uint8Array(digest.length);
    const work = this.#inner._cloneInto(this.#work);
    for (const part of parts) work.update(part);
    work.digestInto(digest);
    this.#outer._cloneInto(work).update(digest).digestInto(tag);
    return tag;
  }

  forgetKey(): void {
    this.#inner.destroy();
    this.#outer.destroy();
    this.#work.destroy();
    this.#digest.fill(0);
  }

  #mask(pad: number): void {
    const block = this.#block;
    for (let i = 0; i < block.length; i++) block[i]! ^= pad;
  }
}

/** HMAC-SHA256 under a key that is in use for long, whose own blocks are hashed once. */
export class HmacSha256 {
  readonly #hmac = new Hmac(sha256);

  constructor(key: Uint8Array) {
    this.#hmac.setKey(key);
  }

  /** Over the concatenation of `parts`, 32 bytes. */
  tag(...parts: readonly Uint8Array[]): Uint8Array {
    return this.#hmac.tag(parts);
  }
}

const withSha1 = new Hmac(sha1);
const withSha256 = new Hmac(sha256);

/** HMAC-SHA1 over the concatenation of `parts`, 20 bytes. */
export function hmacSha1(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return tagOnce(withSha1, key, parts);
}

/** HMAC-SHA256 over the concatenation of `parts`, 32 bytes. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return tagOnce(withSha256, key, parts);
}

function tagOnce<T extends Hash<T>>(
  hmac: Hmac<T>,
  key: Uint8Array,
  parts: readonly Uint8Array[],
): Uint8Array {
  try {
    hmac.setKey(key);
    return hmac.tag(parts);
  } finally {
    hmac.forgetKey();
  }
}
