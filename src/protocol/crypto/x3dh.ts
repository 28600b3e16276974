/**
 * X3DH (Marlinspike and Perrin, revision 1) between cairn identities: docs/wire_format.md sections
 * 6.1 and 6.2. A is the initiator, B the owner of the prekeys.
 */

import { concatBytes, u32, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { type Identity, verifyX3dhKey } from "./identity.ts";
import { PeerId } from "./peer_id.ts";
import {
  ed25519Verify,
  hkdfSha256,
  isUsableEd25519Key,
  isUsableX25519Key,
  KEY_LENGTH,
  type KeyPair,
  sha256,
  SIGNATURE_LENGTH,
  x25519,
} from "./primitives.ts";

/** The end-to-end format that this code speaks. */
export const END_TO_END_VERSION = 1;

const MAX_VERSIONS = 16;
const MAX_U32 = 0xffff_ffff;
const PREKEY_CONTEXT = utf8("cairn-x3dh-prekey-v1");
const SECRET_CONTEXT = utf8("cairn-x3dh-v1");
const SESSION_CONTEXT = utf8("cairn-session-id-v1");
/** In front of the DH outputs, so that no curve point can be mistaken for them (section 2.2). */
const DOMAIN_SEPARATION = new Uint8Array(32).fill(0xff);

/** What a peer signs about itself and offers to everyone who wants to write to it. */
export interface SignedPart {
  /** End-to-end formats, highest first. */
  readonly versions: readonly number[];
  /** Ed25519, 32 bytes. */
  readonly identityKey: Uint8Array;
  /** X25519 identity key, 32 bytes, and its certificate, 64 bytes. */
  readonly x3dhKey: Uint8Array;
  readonly x3dhCertificate: Uint8Array;
  /** u32. */
  readonly signedPrekeyId: number;
  readonly signedPrekey: Uint8Array;
  /** Unix seconds. */
  readonly expiry: number;
}

/** A key with the u32 by which its owner finds the other half. */
export interface OneTimePrekey {
  readonly id: number;
  readonly publicKey: Uint8Array;
}

/** The owner's half of a prekey. */
export interface PrekeyPair {
  readonly id: number;
  readonly pair: KeyPair;
}

/** What both sides end up with. */
export interface X3dhResult {
  /** Shared secret of the Double Ratchet, 32 bytes. */
  readonly secret: Uint8Array;
  /** 16 bytes, public. */
  readonly sessionId: Uint8Array;
}

/** The bytes that are signed and published. */
export function encodeSignedPart(part: SignedPart): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, [...part.versions]],
      [1, part.identityKey],
      [2, part.x3dhKey],
      [3, part.x3dhCertificate],
      [4, part.signedPrekeyId],
      [5, part.signedPrekey],
      [6, part.expiry],
    ]),
  );
}

/** Reads the shape only; nothing is verified. @throws {ProtocolError} `malformed`. */
export function decodeSignedPart(bytes: Uint8Array): SignedPart {
  const map = decodeCborMap(bytes);
  const key = (field: number, length = KEY_LENGTH) => map.bytes(field, length).slice();
  return {
    versions: map.uintArray(0, MAX_U32, MAX_VERSIONS),
    identityKey: key(1),
    x3dhKey: key(2),
    x3dhCertificate: key(3, SIGNATURE_LENGTH),
    signedPrekeyId: map.uint(4, MAX_U32),
    signedPrekey: key(5),
    expiry: map.uint(6),
  };
}

/** The bundle signature over an encoded signed part, 64 bytes. */
export function signBundle(identity: Identity, signedPart: Uint8Array): Uint8Array {
  return identity.sign(bundleStatement(identity.peerId, signedPart));
}

/** A fetched bundle, as yet unverified. */
export interface UnverifiedBundle {
  /** Whose bundle was asked for. */
  readonly peerId: PeerId;
  readonly signedPart: Uint8Array;
  readonly signature: Uint8Array;
  /** Wall clock, Unix milliseconds. */
  readonly nowMs: number;
}

/**
 * Verifies a fetched bundle down to the Peer ID that was asked for.
 *
 * @throws {ProtocolError} `malformed`, `weak-key`, `wrong-peer`, `handshake-failed` (a signature),
 * `unsupported-version` or `expired`.
 */
export function verifyBundle(bundle: UnverifiedBundle): SignedPart {
  const { peerId, signedPart, signature, nowMs } = bundle;
  const part = decodeSignedPart(signedPart);
  const { identityKey, x3dhKey, x3dhCertificate } = part;
  if (!isUsableEd25519Key(identityKey)) {
    throw new ProtocolError("weak-key", "Prekey bundle has an unusable identity key");
  }
  if (!PeerId.ofPublicKey(identityKey).equals(peerId)) {
    throw new ProtocolError("wrong-peer", "Prekey bundle belongs to another peer");
  }
  if (!ed25519Verify(identityKey, bundleStatement(peerId, signedPart), signature)) {
    throw new ProtocolError("handshake-failed", "Prekey bundle signature does not verify");
  }
  verifyX3dhKey(identityKey, x3dhKey, x3dhCertificate);
  requireUsable(x3dhKey);
  requireUsable(part.signedPrekey);
  if (!part.versions.includes(END_TO_END_VERSION)) {
    throw new ProtocolError("unsupported-version", "Prekey bundle offers no common version");
  }
  if (nowMs / 1000 > part.expiry) throw new ProtocolError("expired", "Prekey bundle has expired");
  return part;
}

/** The initiator's input. The ephemeral pair is fresh for each session. */
export interface InitiateX3dhOptions {
  readonly self: PeerId;
  readonly remote: PeerId;
  /** This peer's certified X25519 identity pair. */
  readonly identityPair: KeyPair;
  readonly ephemeral: KeyPair;
  /** What {@linkcode verifyBundle} returned. */
  readonly bundle: SignedPart;
  readonly oneTimePrekey?: OneTimePrekey | undefined;
}

/** Side A. @throws {ProtocolError} `weak-key` on an unusable one-time prekey. */
export function initiateX3dh(options: InitiateX3dhOptions): X3dhResult {
  const { self, remote, identityPair, ephemeral, bundle, oneTimePrekey } = options;
  if (oneTimePrekey !== undefined) requireUsable(oneTimePrekey.publicKey);
  const dhOutputs = [
    x25519(identityPair.secret, bundle.signedPrekey),
    x25519(ephemeral.secret, bundle.x3dhKey),
    x25519(ephemeral.secret, bundle.signedPrekey),
  ];
  if (oneTimePrekey !== undefined) {
    dhOutputs.push(x25519(ephemeral.secret, oneTimePrekey.publicKey));
  }
  return derive({
    initiator: self,
    responder: remote,
    ephemeralKey: ephemeral.publicKey,
    signedPrekeyId: bundle.signedPrekeyId,
    oneTimePrekeyId: oneTimePrekey?.id,
    dhOutputs,
  });
}

/** The responder's input: its own prekeys, named by the first message, and the initiator's keys. */
export interface RespondX3dhOptions {
  readonly self: PeerId;
  readonly remote: PeerId;
  readonly identityPair: KeyPair;
  readonly signedPrekey: PrekeyPair;
  readonly oneTimePrekey?: PrekeyPair | undefined;
  /** The initiator's X25519 identity key, after {@linkcode verifyX3dhKey}. */
  readonly remoteIdentityKey: Uint8Array;
  readonly ephemeralKey: Uint8Array;
}

/** Side B. @throws {ProtocolError} `weak-key` on an unusable key of the initiator. */
export function respondX3dh(options: RespondX3dhOptions): X3dhResult {
  const { self, remote, identityPair, signedPrekey, oneTimePrekey } = options;
  const { remoteIdentityKey, ephemeralKey } = options;
  requireUsable(remoteIdentityKey);
  requireUsable(ephemeralKey);
  const dhOutputs = [
    x25519(signedPrekey.pair.secret, remoteIdentityKey),
    x25519(identityPair.secret, ephemeralKey),
    x25519(signedPrekey.pair.secret, ephemeralKey),
  ];
  if (oneTimePrekey !== undefined) {
    dhOutputs.push(x25519(oneTimePrekey.pair.secret, ephemeralKey));
  }
  return derive({
    initiator: remote,
    responder: self,
    ephemeralKey,
    signedPrekeyId: signedPrekey.id,
    oneTimePrekeyId: oneTimePrekey?.id,
    dhOutputs,
  });
}

interface Agreement {
  readonly initiator: PeerId;
  readonly responder: PeerId;
  readonly ephemeralKey: Uint8Array;
  readonly signedPrekeyId: number;
  readonly oneTimePrekeyId: number | undefined;
  /** DH1 to DH3, and DH4 with a one-time prekey. */
  readonly dhOutputs: readonly Uint8Array[];
}

function derive(agreement: Agreement): X3dhResult {
  const { initiator, responder, ephemeralKey, oneTimePrekeyId } = agreement;
  const info = concatBytes(
    SECRET_CONTEXT,
    initiator.bytes,
    responder.bytes,
    u32(agreement.signedPrekeyId),
    oneTimePrekeyId === undefined
      ? Uint8Array.of(0)
      : concatBytes(Uint8Array.of(1), u32(oneTimePrekeyId)),
  );
  const ikm = concatBytes(DOMAIN_SEPARATION, ...agreement.dhOutputs);
  return {
    secret: hkdfSha256(ikm, undefined, info, KEY_LENGTH),
    sessionId: sha256(SESSION_CONTEXT, ephemeralKey, initiator.bytes, responder.bytes).slice(0, 16),
  };
}

function bundleStatement(peerId: PeerId, signedPart: Uint8Array): Uint8Array {
  return concatBytes(PREKEY_CONTEXT, peerId.bytes, signedPart);
}

function requireUsable(publicKey: Uint8Array): void {
  if (!isUsableX25519Key(publicKey)) {
    throw new ProtocolError("weak-key", "X25519 key is of small order or not canonical");
  }
}
