import { certifyLinkKey, certifyX3dhKey, Identity } from "../../src/protocol/crypto/identity.ts";
import { sha256, x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { encodeSignedPart, signBundle, verifyBundle } from "../../src/protocol/crypto/x3dh.ts";
import type { SessionIdentity } from "../../src/protocol/session/session.ts";
import { utf8 } from "../../src/base/bytes.ts";

/** Deterministic bytes for a label: tests need keys, not chance. */
export function bytesFor(label: string): Uint8Array {
  return sha256(utf8(label));
}

export function identityFor(label: string): Identity {
  return Identity.fromSeed(bytesFor(`${label} seed`));
}

export function linkKeyFor(label: string, expiry: number) {
  const pair = x25519KeyPair(bytesFor(`${label} static`));
  return { pair, certificate: certifyLinkKey(identityFor(label), pair.publicKey, expiry) };
}

export function sessionIdentityFor(label: string): SessionIdentity {
  const identity = identityFor(label);
  const x3dhPair = x25519KeyPair(bytesFor(`${label} x3dh`));
  return {
    peerId: identity.peerId,
    identityKey: identity.publicKey,
    x3dhPair,
    x3dhCertificate: certifyX3dhKey(identity, x3dhPair.publicKey),
  };
}

/** A published bundle, its private half, and what a fetcher has verified of it. */
export function prekeysFor(label: string, now: number) {
  const identity = identityFor(label);
  const self = sessionIdentityFor(label);
  const signedPrekey = { id: 7, pair: x25519KeyPair(bytesFor(`${label} signed prekey`)) };
  const oneTimePrekey = { id: 8, pair: x25519KeyPair(bytesFor(`${label} one-time prekey`)) };
  const signedPart = encodeSignedPart({
    versions: [1],
    identityKey: identity.publicKey,
    x3dhKey: self.x3dhPair.publicKey,
    x3dhCertificate: self.x3dhCertificate,
    signedPrekeyId: signedPrekey.id,
    signedPrekey: signedPrekey.pair.publicKey,
    expiry: Math.floor(now / 1000) + 86_400,
  });
  const signature = signBundle(identity, signedPart);
  const bundle = verifyBundle({ peerId: identity.peerId, signedPart, signature, nowMs: now });
  return { signedPrekey, oneTimePrekey, signedPart, signature, bundle };
}
