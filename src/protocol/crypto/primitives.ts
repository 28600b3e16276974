/**
 * The one seam to algorithms. Everything here is synchronous, deterministic and portable to a
 * browser; a role may bring what its platform does faster, see {@linkcode installPrimitives}. A
 * wrong length of a local value is a `RangeError`; what a remote party can cause is a
 * {@linkcode ProtocolError} or a `false`.
 */

import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 as curve25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 as nobleSha256, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";
import { utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";

/** Length of every symmetric key, X25519 key, Ed25519 seed and Ed25519 public key. */
export const KEY_LENGTH = 32;
/** Bytes that every AEAD here adds to a plaintext. */
export const TAG_LENGTH = 16;
/** Length of an Ed25519 signature. */
export const SIGNATURE_LENGTH = 64;

/** 2^255 - 19, the field of both curves. */
const FIELD_PRIME = 2n ** 255n - 19n;

/**
 * A platform's own implementation of what messages and handshakes spend their time on. Its outputs
 * are those of the functions of the same names here, which have checked lengths before.
 */
export interface NativePrimitives {
  readonly chacha20Poly1305: Aead;
  readonly aes256Gcm: Aead;
  sha256(parts: readonly Uint8Array[]): Uint8Array;
  x25519PublicKey(secret: Uint8Array): Uint8Array;
  /** @throws {Error} on a public key of small order. */
  x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array;
  /**
   * Accepts only what RFC 8032 section 5.1.7 accepts without the cofactor, with S below the group
   * order and R in its one encoding. It may be laxer about the public key, see
   * {@linkcode ed25519Verify}.
   */
  ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

let native: NativePrimitives | undefined;

/** Takes `primitives` from here on; without an argument, the portable ones again. */
export function installPrimitives(primitives?: NativePrimitives): void {
  native = primitives;
}

/** SHA-256 over the concatenation of `parts`, 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  if (native) return native.sha256(parts);
  const hash = nobleSha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** SHA-512 over the concatenation of `parts`, 64 bytes. */
export function sha512(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = nobleSha512.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** HKDF-SHA256 (RFC 5869). No salt means 32 zero bytes; `length` is at most 8,160. */
export function hkdfSha256(
  ikm: Uint8Array,
  salt: Uint8Array | undefined,
  info: Uint8Array | string,
  length: number,
): Uint8Array {
  return hkdf(nobleSha256, ikm, salt, typeof info === "string" ? utf8(info) : info, length);
}

/** Authenticated encryption with associated data. Key 32 bytes; a nonce never repeats per key. */
export interface Aead {
  /** Returns the ciphertext followed by the 16-byte tag. */
  seal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** @throws {ProtocolError} `decryption-failed` unless the tag verifies. */
  open(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
}

/** ChaCha20-Poly1305 (RFC 8439), nonce 12 bytes. */
export const chacha20Poly1305: Aead = aead(
  chacha20poly1305,
  12,
  () => native?.chacha20Poly1305,
);

/** XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), nonce 24 bytes. */
export const xchacha20Poly1305: Aead = aead(xchacha20poly1305, 24);

/** AES-256-GCM (NIST SP 800-38D), nonce 12 bytes. */
export const aes256Gcm: Aead = aead(gcm, 12, () => native?.aes256Gcm);

/** An X25519 key pair, 32 bytes each. */
export interface KeyPair {
  readonly secret: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** The X25519 pair of 32 random bytes. */
export function x25519KeyPair(secret: Uint8Array): KeyPair {
  return { secret, publicKey: x25519PublicKey(secret) };
}

/** The X25519 public key of `secret` (RFC 7748; the scalar is clamped). */
export function x25519PublicKey(secret: Uint8Array): Uint8Array {
  requireLength(secret, KEY_LENGTH, "X25519 secret");
  return native?.x25519PublicKey(secret) ?? curve25519.getPublicKey(secret);
}

/**
 * X25519 (RFC 7748 section 6.1).
 *
 * @throws {ProtocolError} `malformed` on a public key that is not 32 bytes, `weak-key` when the
 * result is all zero.
 */
export function x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  requireLength(secret, KEY_LENGTH, "X25519 secret");
  if (publicKey.length !== KEY_LENGTH) {
    throw new ProtocolError("malformed", "X25519 public key is not 32 bytes long");
  }
  try {
    return sharedSecret(secret, publicKey);
  } catch (cause) {
    // With both lengths checked, a low-order public key is the only refusal left.
    throw new ProtocolError("weak-key", "X25519 public key has a small order", { cause });
  }
}

/**
 * Whether a stranger's X25519 public key is 32 bytes, canonical (below 2^255 - 19) and not of small
 * order. X25519 itself reads several encodings as the same key; where the encoding is hashed or
 * remembered, only one of them may pass.
 */
export function isUsableX25519Key(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_LENGTH) return false;
  const u = BigInt("0x" + publicKey.toReversed().toHex());
  if (u >= FIELD_PRIME) return false;
  try {
    // Any clamped scalar is a multiple of the cofactor and takes small orders to zero.
    sharedSecret(curve25519.GuBytes, publicKey);
    return true;
  } catch {
    return false;
  }
}

/** The Ed25519 public key (RFC 8032) of a 32-byte seed. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  requireLength(seed, KEY_LENGTH, "Ed25519 seed");
  return ed25519.getPublicKey(seed);
}

/** The deterministic Ed25519 signature of `message`, 64 bytes. */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  requireLength(seed, KEY_LENGTH, "Ed25519 seed");
  return ed25519.sign(message, seed);
}

/**
 * Verifies strictly (RFC 8032 section 5.1.7): canonical encodings, S below the group order, no
 * small-order public key. Anything malformed is `false`.
 */
export function ed25519Verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== KEY_LENGTH || signature.length !== SIGNATURE_LENGTH) return false;
  // Native verifiers take keys of small order and second encodings of keys; with those ruled out,
  // what they accept noble accepts. What they refuse it may yet accept: it counts the cofactor in.
  if (native?.ed25519Verify(publicKey, message, signature)) return isStrictEd25519Key(publicKey);
  return ed25519.verify(signature, message, publicKey, { zip215: false });
}

/**
 * Whether `publicKey` may name a peer: canonical, on the curve, and in the prime-order group, so
 * that neither a signature valid for every message nor a second key for the same signatures exists.
 */
export function isUsableEd25519Key(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_LENGTH) return false;
  try {
    const point = ed25519.Point.fromBytes(publicKey, false);
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}

function sharedSecret(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return native?.x25519(secret, publicKey) ?? curve25519.getSharedSecret(secret, publicKey);
}

function isStrictEd25519Key(publicKey: Uint8Array): boolean {
  try {
    return !ed25519.Point.fromBytes(publicKey, false).isSmallOrder();
  } catch {
    return false;
  }
}

type NobleAead = (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array) => {
  encrypt(plaintext: Uint8Array): Uint8Array;
  decrypt(ciphertext: Uint8Array): Uint8Array;
};

function aead(
  algorithm: NobleAead,
  nonceLength: number,
  nativeAead: () => Aead | undefined = () => undefined,
): Aead {
  const requireLengths = (key: Uint8Array, nonce: Uint8Array) => {
    requireLength(key, KEY_LENGTH, "AEAD key");
    requireLength(nonce, nonceLength, "AEAD nonce");
  };
  return {
    seal(key, nonce, aad, plaintext) {
      requireLengths(key, nonce);
      return nativeAead()?.seal(key, nonce, aad, plaintext) ??
        algorithm(key, nonce, aad).encrypt(plaintext);
    },
    open(key, nonce, aad, ciphertext) {
      requireLengths(key, nonce);
      try {
        return nativeAead()?.open(key, nonce, aad, ciphertext) ??
          algorithm(key, nonce, aad).decrypt(ciphertext);
      } catch (cause) {
        throw new ProtocolError("decryption-failed", "Ciphertext does not authenticate", { cause });
      }
    },
  };
}

function requireLength(bytes: Uint8Array, length: number, name: string): void {
  if (bytes.length !== length) throw new RangeError(`${name} must be ${length} bytes long`);
}
