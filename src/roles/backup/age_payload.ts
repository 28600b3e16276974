/**
 * The chunks of a file of the format age: STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015) of
 * ChaCha20-Poly1305, 64 KiB each. The nonce counts them and marks the last, so that one which is
 * missing, added or elsewhere is found.
 */

import { TAG_LENGTH } from "../../protocol/crypto/primitives.ts";
import { nativePrimitives } from "../native_primitives.ts";
import {
  type EncryptionOptions,
  openFileKey,
  payloadKey,
  sealFileKey,
  unusable,
} from "./age_header.ts";
import { ByteReader } from "./byte_reader.ts";

const CHUNK_BYTES = 65_536;
const NONCE_BYTES = 16;
const NO_DATA = new Uint8Array(0);
const { chacha20Poly1305 } = nativePrimitives;

/** Encrypts a stream of any length, holding one chunk of it. */
export async function* encryptFile(
  plain: AsyncIterable<Uint8Array>,
  passphrase: string,
  options: EncryptionOptions,
): AsyncGenerator<Uint8Array, void> {
  const { header, fileKey } = await sealFileKey(passphrase, options);
  const nonce = options.host.random(NONCE_BYTES);
  const chunks = new Chunks(payloadKey(fileKey, nonce));
  yield header;
  yield nonce;
  const reader = new ByteReader(plain);
  try {
    while (true) {
      const chunk = await reader.read(CHUNK_BYTES);
      const isLast = await reader.isAtEnd();
      yield chunks.seal(chunk, isLast);
      if (isLast) return;
    }
  } finally {
    await reader.close();
  }
}

/**
 * Decrypts what {@linkcode encryptFile} made. Only what is authentic is yielded; that it is all is
 * known at the end.
 *
 * @throws {CairnError} `backup-unusable`: no backup, wrong passphrase, damaged, cut short.
 */
export async function* decryptFile(
  encrypted: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array, void> {
  const reader = new ByteReader(encrypted);
  try {
    const fileKey = await openFileKey(reader, passphrase);
    const nonce = await reader.read(NONCE_BYTES);
    if (nonce.length < NONCE_BYTES) throw cutShort();
    const chunks = new Chunks(payloadKey(fileKey, nonce));
    while (true) {
      const sealed = await reader.read(CHUNK_BYTES + TAG_LENGTH);
      const isLast = await reader.isAtEnd();
      yield chunks.open(sealed, isLast);
      if (isLast) return;
    }
  } finally {
    await reader.close();
  }
}

class Chunks {
  readonly #key: Uint8Array;
  #count = 0;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(chunk: Uint8Array, isLast: boolean): Uint8Array {
    return chacha20Poly1305.seal(this.#key, nonceOf(this.#count++, isLast), NO_DATA, chunk);
  }

  open(sealed: Uint8Array, isLast: boolean): Uint8Array {
    const count = this.#count++;
    const chunk = this.#tryOpen(sealed, count, isLast);
    if (chunk !== undefined && (chunk.length > 0 || count === 0)) return chunk;
    if (chunk === undefined && this.#tryOpen(sealed, count, !isLast) !== undefined) {
      throw isLast ? cutShort() : unusable("The backup was altered: something follows its end");
    }
    // A piece of a chunk authenticates as nothing, whether the file was cut there or altered.
    const isPiece = isLast && sealed.length < CHUNK_BYTES + TAG_LENGTH;
    throw isPiece
      ? unusable("The backup is damaged, or ends too early: use another one")
      : unusable("The backup is damaged: use another one");
  }

  #tryOpen(sealed: Uint8Array, count: number, isLast: boolean): Uint8Array | undefined {
    if (sealed.length < TAG_LENGTH) return undefined;
    try {
      return chacha20Poly1305.open(this.#key, nonceOf(count, isLast), NO_DATA, sealed);
    } catch {
      return undefined;
    }
  }
}

/** 11 bytes count, of which 2^32 chunks, 256 TiB, take four. */
function nonceOf(count: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(7, count);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function cutShort() {
  return unusable("The backup ends too early: it was not written or copied to its end");
}
