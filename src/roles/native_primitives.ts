import { Buffer } from "node:buffer";
import {
  type CipherChaCha20Poly1305,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  type DecipherChaCha20Poly1305,
  type DecipherGCM,
  diffieHellman,
  type KeyObject,
  verify,
} from "node:crypto";
import { concatBytes, fromHex } from "../base/bytes.ts";
import {
  type Aead,
  KEY_LENGTH,
  type NativePrimitives,
  TAG_LENGTH,
} from "../protocol/crypto/primitives.ts";

/** What stands before the 32 bytes of a key in its DER form (RFC 8410). */
const X25519_PRIVATE = fromHex("302e020100300506032b656e04220420");
const X25519_PUBLIC = fromHex("302a300506032b656e032100");
const ED25519_PUBLIC = fromHex("302a300506032b6570032100");
const AEAD_OPTIONS = { authTagLength: TAG_LENGTH };

/** OpenSSL's algorithms by node:crypto; docs/performance.md tells what they save. */
export const nativePrimitives: NativePrimitives = {
  chacha20Poly1305: aead(
    (key, nonce) => createCipheriv("chacha20-poly1305", key, nonce, AEAD_OPTIONS),
    (key, nonce) => createDecipheriv("chacha20-poly1305", key, nonce, AEAD_OPTIONS),
  ),
  aes256Gcm: aead(
    (key, nonce) => createCipheriv("aes-256-gcm", key, nonce, AEAD_OPTIONS),
    (key, nonce) => createDecipheriv("aes-256-gcm", key, nonce, AEAD_OPTIONS),
  ),

  sha256(parts) {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return new Uint8Array(hash.digest());
  },

  x25519PublicKey(secret) {
    const der = createPublicKey(x25519Private(secret)).export({ format: "der", type: "spki" });
    return new Uint8Array(der.subarray(-KEY_LENGTH));
  },

  x25519(secret, publicKey) {
    return new Uint8Array(diffieHellman({
      privateKey: x25519Private(secret),
      publicKey: publicKeyOf(X25519_PUBLIC, publicKey),
    }));
  },

  ed25519Verify(publicKey, message, signature) {
    try {
      return verify(null, message, publicKeyOf(ED25519_PUBLIC, publicKey), signature);
    } catch {
      return false;
    }
  },
};

function x25519Private(secret: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes(X25519_PRIVATE, secret));
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}

function publicKeyOf(prefix: Uint8Array, publicKey: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes(prefix, publicKey));
  return createPublicKey({ key, format: "der", type: "spki" });
}

/** Setting no associated data changes nothing, and takes a third of the time of a short message. */
function aead(
  encipher: (key: Uint8Array, nonce: Uint8Array) => CipherGCM | CipherChaCha20Poly1305,
  decipher: (key: Uint8Array, nonce: Uint8Array) => DecipherGCM | DecipherChaCha20Poly1305,
): Aead {
  return {
    seal(key, nonce, aad, plaintext) {
      const cipher = encipher(key, nonce);
      if (aad.length > 0) cipher.setAAD(aad, { plaintextLength: plaintext.length });
      return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
    },
    open(key, nonce, aad, ciphertext) {
      const length = ciphertext.length - TAG_LENGTH;
      if (length < 0) throw new RangeError("Ciphertext is shorter than its tag");
      const cipher = decipher(key, nonce);
      if (aad.length > 0) cipher.setAAD(aad, { plaintextLength: length });
      cipher.setAuthTag(ciphertext.subarray(length));
      const plaintext = cipher.update(ciphertext.subarray(0, length));
      // Until this returns nobody may see the plaintext: only here is the tag compared. A stream
      // cipher keeps nothing back for it to return.
      cipher.final();
      return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
    },
  };
}
