/** The algorithms by themselves, in the lengths that links and sessions use. */

import {
  type Aead,
  aes256Gcm,
  chacha20Poly1305,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  isUsableEd25519Key,
  x25519,
  x25519PublicKey,
} from "../src/protocol/crypto/primitives.ts";
import { benchBoth } from "./both_primitives.ts";

const key = new Uint8Array(32).fill(1);
const nonce = new Uint8Array(12);
const aad = new Uint8Array(0);
const publicKey = x25519PublicKey(key);
const message = new Uint8Array(100);
const identityKey = ed25519PublicKey(key);
const signature = ed25519Sign(key, message);

const baseline = true;
benchBoth("key pair", "X25519 key pair", () => x25519PublicKey(key), { baseline });
benchBoth("shared secret", "X25519 shared secret", () => x25519(key, publicKey), { baseline });
benchBoth("verification", "Ed25519 verification", () => {
  ed25519Verify(identityKey, message, signature);
}, { baseline });
// Noble's in both: nothing native tells whether a point is in the prime-order group.
Deno.bench("Ed25519 key check", { group: "verification" }, () => {
  isUsableEd25519Key(identityKey);
});

const LENGTHS = [["64 bytes", 64], ["1 KiB", 1_024], ["65,519 bytes", 65_519]] as const;
for (const [size, length] of LENGTHS) {
  const plaintext = new Uint8Array(length);
  sealAndOpen(`ChaCha20-Poly1305, ${size}`, chacha20Poly1305, plaintext);
  sealAndOpen(`AES-256-GCM, ${size}`, aes256Gcm, plaintext);
}

function sealAndOpen(name: string, aead: Aead, plaintext: Uint8Array): void {
  const sealed = aead.seal(key, nonce, aad, plaintext);
  benchBoth(`seal and open, ${name}`, name, () => {
    aead.seal(key, nonce, aad, plaintext);
    aead.open(key, nonce, aad, sealed);
  }, { baseline });
}
