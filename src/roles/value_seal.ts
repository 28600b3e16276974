import { hkdfSync } from "node:crypto";
import { concatBytes, toHex } from "../base/bytes.ts";
import type { Host } from "../base/host.ts";
import { nativePrimitives } from "./native_primitives.ts";

const SALT_BYTES = 16;
const COUNTER_BYTES = 8;
const TAG_BYTES = 16;
/** What a sealed value has more than the value. */
export const SEAL_BYTES = SALT_BYTES + COUNTER_BYTES + TAG_BYTES;
/** Keys of so many earlier openings of the store are kept at hand. */
const MAX_KEYS = 256;
const { chacha20Poly1305 } = nativePrimitives;

/**
 * Encrypts the values of a store, each bound to its key: 16 random bytes of this opening of the
 * store, from which with the data key its own key follows (HKDF-SHA-256), a counter (u64), and
 * ChaCha20-Poly1305. No nonce is used twice, also not by a copy of the folder.
 */
export class ValueSeal {
  readonly #dataKey: Uint8Array;
  readonly #salt: Uint8Array;
  readonly #keys = new Map<string, Uint8Array>();
  #count = 0n;

  /** `dataKey`: 32 random bytes. */
  constructor(dataKey: Uint8Array, host: Host) {
    this.#dataKey = dataKey;
    this.#salt = host.random(SALT_BYTES);
  }

  seal(key: Uint8Array, plain: Uint8Array): Uint8Array {
    const counter = new Uint8Array(COUNTER_BYTES);
    new DataView(counter.buffer).setBigUint64(0, this.#count++);
    const own = this.#keyOf(this.#salt);
    return concatBytes(
      this.#salt,
      counter,
      chacha20Poly1305.seal(own, nonceOf(counter), key, plain),
    );
  }

  /** @throws {TypeError} when it was altered, or belongs to another key. */
  open(key: Uint8Array, sealed: Uint8Array): Uint8Array {
    const salt = sealed.subarray(0, SALT_BYTES);
    const counter = sealed.subarray(SALT_BYTES, SALT_BYTES + COUNTER_BYTES);
    try {
      if (sealed.length < SEAL_BYTES) throw new RangeError("Shorter than a seal");
      const rest = sealed.subarray(SALT_BYTES + COUNTER_BYTES);
      return chacha20Poly1305.open(this.#keyOf(salt), nonceOf(counter), key, rest);
    } catch (cause) {
      throw new TypeError("An encrypted record of the store is damaged", { cause });
    }
  }

  #keyOf(salt: Uint8Array): Uint8Array {
    const name = toHex(salt);
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = new Uint8Array(hkdfSync("sha256", this.#dataKey, salt, "values of a store", 32));
      if (this.#keys.size >= MAX_KEYS) this.#keys.clear();
      this.#keys.set(name, key);
    }
    return key;
  }
}

function nonceOf(counter: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12);
  nonce.set(counter, 4);
  return nonce;
}
