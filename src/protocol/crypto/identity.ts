import { concatBytes, u64, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { PeerId } from "./peer_id.ts";
import { ed25519PublicKey, ed25519Sign, ed25519Verify, isUsableEd25519Key } from "./primitives.ts";

const LINK_CONTEXT = utf8("cairn-noise-static-v1");
const X3DH_CONTEXT = utf8("cairn-x3dh-identity-v1");

/** How far ahead a link certificate may expire, and how far the two clocks may differ, seconds. */
const MAX_LIFETIME = 30 * 24 * 3600;
const CLOCK_SKEW = 5 * 60;

/** The Ed25519 identity that a Peer ID names. Prints and serializes without its seed. */
export class Identity {
  readonly publicKey: Uint8Array;
  readonly peerId: PeerId;
  readonly #seed: Uint8Array;

  private constructor(seed: Uint8Array) {
    this.#seed = seed;
    this.publicKey = ed25519PublicKey(seed);
    this.peerId = PeerId.ofPublicKey(this.publicKey);
  }

  /** @param seed 32 random bytes, kept secret; copied. */
  static fromSeed(seed: Uint8Array): Identity {
    return new Identity(seed.slice());
  }

  /** The secret, for the keystore only. */
  get seed(): Uint8Array {
    return this.#seed;
  }

  /** Ed25519, 64 bytes. Every signed message begins with a context text of its own. */
  sign(message: Uint8Array): Uint8Array {
    return ed25519Sign(this.#seed, message);
  }
}

/** An identity's word that a Noise static key is its own, until `expiry`. */
export interface LinkCertificate {
  /** Ed25519, 32 bytes. */
  readonly identityKey: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
  /** Unix seconds. */
  readonly expiry: number;
}

/** Certifies the X25519 key that this identity uses on links (docs/wire_format.md section 2.1). */
export function certifyLinkKey(
  identity: Identity,
  staticPublicKey: Uint8Array,
  expiry: number,
): LinkCertificate {
  const signature = identity.sign(linkStatement(staticPublicKey, expiry));
  return { identityKey: identity.publicKey, signature, expiry };
}

/**
 * Checks a remote's certificate for the static key that the handshake proved.
 *
 * @param nowMs Wall clock, Unix milliseconds.
 * @returns The remote's Peer ID.
 * @throws {ProtocolError} `weak-key`, `expired` (past, or more than 30 days and 5 minutes ahead) or
 * `handshake-failed` (bad signature).
 */
export function verifyLinkKey(
  certificate: LinkCertificate,
  staticPublicKey: Uint8Array,
  nowMs: number,
): PeerId {
  const { identityKey, signature, expiry } = certificate;
  requireUsable(identityKey);
  if (!Number.isSafeInteger(expiry) || expiry < 0) {
    throw new ProtocolError("malformed", "Link certificate has no valid expiry");
  }
  const now = nowMs / 1000;
  if (now > expiry) throw new ProtocolError("expired", "Link certificate has expired");
  if (expiry > now + MAX_LIFETIME + CLOCK_SKEW) {
    throw new ProtocolError("expired", "Link certificate expires too far ahead");
  }
  if (!ed25519Verify(identityKey, linkStatement(staticPublicKey, expiry), signature)) {
    throw new ProtocolError("handshake-failed", "Link certificate does not verify");
  }
  return PeerId.ofPublicKey(identityKey);
}

/** Certifies this identity's X25519 identity key (docs/wire_format.md section 6.1), 64 bytes. */
export function certifyX3dhKey(identity: Identity, x25519PublicKey: Uint8Array): Uint8Array {
  return identity.sign(x3dhStatement(identity.peerId, x25519PublicKey));
}

/**
 * Checks that `identityKey` has certified `x25519PublicKey`.
 *
 * @returns The Peer ID of `identityKey`.
 * @throws {ProtocolError} `weak-key` or `handshake-failed`.
 */
export function verifyX3dhKey(
  identityKey: Uint8Array,
  x25519PublicKey: Uint8Array,
  signature: Uint8Array,
): PeerId {
  requireUsable(identityKey);
  const peerId = PeerId.ofPublicKey(identityKey);
  if (!ed25519Verify(identityKey, x3dhStatement(peerId, x25519PublicKey), signature)) {
    throw new ProtocolError("handshake-failed", "X3DH identity certificate does not verify");
  }
  return peerId;
}

function linkStatement(staticPublicKey: Uint8Array, expiry: number): Uint8Array {
  return concatBytes(LINK_CONTEXT, staticPublicKey, u64(expiry));
}

function x3dhStatement(peerId: PeerId, x25519PublicKey: Uint8Array): Uint8Array {
  return concatBytes(X3DH_CONTEXT, peerId.bytes, x25519PublicKey);
}

function requireUsable(identityKey: Uint8Array): void {
  if (!isUsableEd25519Key(identityKey)) {
    throw new ProtocolError("weak-key", "Identity key is not a usable Ed25519 key");
  }
}
