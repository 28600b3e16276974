import { compareBytes, equalBytes, toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { verifyX3dhKey } from "../crypto/identity.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import type { KeyPair } from "../crypto/primitives.ts";
import { initiateX3dh, respondX3dh, type SignedPart } from "../crypto/x3dh.ts";
import {
  canSend,
  initiateRatchet,
  ratchetDecrypt,
  ratchetEncrypt,
  respondRatchet,
} from "./double_ratchet.ts";
import { decodeRatchetState, encodeRatchetState, type RatchetState } from "./ratchet_state.ts";
import {
  type Body,
  decodeX3dhData,
  encodeBody,
  encodeX3dhData,
  type X3dhData,
} from "./message_body.ts";

/** Messages after which a session that was never answered is given up for a new one. */
export const MAX_UNANSWERED = 500;
/** Sessions kept with one remote; the one that was used longest ago goes first. */
export const MAX_SESSIONS = 64;

/** One end-to-end session with one remote: plain data, replaced as a whole by each step. */
export interface Session {
  /** 16 bytes, derived from the initiator's ephemeral key. */
  readonly id: Uint8Array;
  readonly ratchet: RatchetState;
  /** Repeated in each body until the remote has answered; absent on the acceptor's side. */
  readonly x3dh: X3dhData | undefined;
  /** Messages sent since the remote was last heard in this session. */
  readonly unanswered: number;
  /** A retired session still receives, but never encrypts again. */
  readonly retired: boolean;
  /** Unix milliseconds of the last step. */
  readonly usedAt: number;
}

/** The parts of an identity that sessions need. */
export interface SessionIdentity {
  readonly peerId: PeerId;
  readonly identityKey: Uint8Array;
  readonly x3dhPair: KeyPair;
  readonly x3dhCertificate: Uint8Array;
}

/** The session on which to send to a remote: the lowest id of those that may encrypt. */
export function chooseSession(sessions: readonly Session[]): Session | undefined {
  return sessions
    .filter((session) =>
      !session.retired && session.unanswered < MAX_UNANSWERED && canSend(session.ratchet)
    )
    .sort((a, b) => compareBytes(a.id, b.id))[0];
}

/**
 * Opens a session to a remote that need not be there, from its verified prekey bundle (X3DH
 * section 3.3). `ephemeral` and `ratchetPair` are fresh.
 */
export function startSession(options: {
  self: SessionIdentity;
  remote: PeerId;
  bundle: SignedPart;
  oneTimePrekey: { id: number; publicKey: Uint8Array } | undefined;
  ephemeral: KeyPair;
  ratchetPair: KeyPair;
  now: number;
}): Session {
  const { self, remote, bundle, oneTimePrekey, ephemeral } = options;
  const { secret, sessionId } = initiateX3dh({
    self: self.peerId,
    remote,
    identityPair: self.x3dhPair,
    ephemeral,
    bundle,
    ...(oneTimePrekey && { oneTimePrekey }),
  });
  return {
    id: sessionId,
    ratchet: initiateRatchet(secret, bundle.signedPrekey, options.ratchetPair),
    x3dh: {
      identityKey: self.identityKey,
      x3dhKey: self.x3dhPair.publicKey,
      x3dhCertificate: self.x3dhCertificate,
      ephemeralKey: ephemeral.publicKey,
      signedPrekeyId: bundle.signedPrekeyId,
      oneTimePrekeyId: oneTimePrekey?.id,
    },
    unanswered: 0,
    retired: false,
    usedAt: options.now,
  };
}

/**
 * Accepts the session that a body of kind *first* opens (X3DH section 3.4).
 *
 * @throws {ProtocolError} when the identity or the session id does not follow from the X3DH data.
 */
export function acceptSession(options: {
  self: SessionIdentity;
  remote: PeerId;
  sessionId: Uint8Array;
  x3dh: X3dhData;
  signedPrekey: { id: number; pair: KeyPair };
  oneTimePrekey: { id: number; pair: KeyPair } | undefined;
  now: number;
}): Session {
  const { self, remote, x3dh, signedPrekey, oneTimePrekey } = options;
  if (!verifyX3dhKey(x3dh.identityKey, x3dh.x3dhKey, x3dh.x3dhCertificate).equals(remote)) {
    throw new ProtocolError("wrong-peer", "Session was opened by another identity");
  }
  const { secret, sessionId } = respondX3dh({
    self: self.peerId,
    remote,
    identityPair: self.x3dhPair,
    signedPrekey,
    ...(oneTimePrekey && { oneTimePrekey }),
    remoteIdentityKey: x3dh.x3dhKey,
    ephemeralKey: x3dh.ephemeralKey,
  });
  if (!equalBytes(sessionId, options.sessionId)) {
    throw new ProtocolError("malformed", "Session id does not follow from its X3DH data");
  }
  return {
    id: sessionId,
    ratchet: respondRatchet(secret, signedPrekey.pair),
    x3dh: undefined,
    unanswered: 0,
    retired: false,
    usedAt: options.now,
  };
}

/** One ratchet step. The returned session must be durable before the body leaves the process. */
export function sealInSession(
  session: Session,
  plaintext: Uint8Array,
  now: number,
): { session: Session; body: Uint8Array } {
  if (session.retired) throw new TypeError("Cannot encrypt in a retired session");
  const { state, message } = ratchetEncrypt(session.ratchet, plaintext);
  return {
    session: { ...session, ratchet: state, unanswered: session.unanswered + 1, usedAt: now },
    body: encodeBody({ sessionId: session.id, x3dh: session.x3dh, ratchetMessage: message }),
  };
}

/**
 * Opens a body in its session; `freshPair` is used if the ratchet turns. The given session stays as
 * it was: nothing changes when this throws.
 */
export function openInSession(
  session: Session,
  body: Body,
  freshPair: KeyPair,
  now: number,
): { session: Session; plaintext: Uint8Array } {
  const { state, plaintext } = ratchetDecrypt(session.ratchet, body.ratchetMessage, freshPair);
  return {
    session: { ...session, ratchet: state, x3dh: undefined, unanswered: 0, usedAt: now },
    plaintext,
  };
}

/** Name under which a session is stored. */
export function sessionKey(sessionId: Uint8Array): string {
  return toHex(sessionId);
}

/** Local storage form. */
export function encodeSession(session: Session): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, session.id],
      [1, encodeRatchetState(session.ratchet)],
      [2, session.x3dh ? encodeX3dhData(session.x3dh) : null],
      [3, session.unanswered],
      [4, session.retired],
      [5, session.usedAt],
    ]),
  );
}

/** @throws {ProtocolError} `malformed` when the stored bytes are damaged. */
export function decodeSession(bytes: Uint8Array): Session {
  const map = decodeCborMap(bytes);
  return {
    id: map.bytes(0, 16).slice(),
    ratchet: decodeRatchetState(map.bytesUpTo(1, bytes.length)),
    x3dh: map.has(2) ? decodeX3dhData(map.bytesUpTo(2, 1024).slice()) : undefined,
    unanswered: map.uint(3),
    retired: map.boolean(4),
    usedAt: map.uint(5),
  };
}
