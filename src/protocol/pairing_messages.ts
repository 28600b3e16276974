import { ProtocolError } from "../base/errors.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";
import { PeerId } from "./crypto/peer_id.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

/*
 * Payloads 0x0100 to 0x0105. Keys and their order are the reference's; `mechanism`,
 * `credential_id`, `pairing_secret`, `detail` and `retry_after` are ours and unknown to it.
 */

const PEER_ID_LENGTH = 34;
const NONCE_LENGTH = 16;
const PAKE_MESSAGE_LENGTH = 33;
const CONFIRMATION_LENGTH = 32;
const SECRET_LENGTH = 32;
const MAX_CREDENTIAL_ID_LENGTH = 16;

const FLOW_TYPES = ["Initiation", "Standard"] as const;
const MECHANISMS = ["psk", "pin", "link", "approved", "ask"] as const;
const REJECT_REASONS = [
  "UserRejected",
  "AuthenticationFailed",
  "Timeout",
  "RateLimited",
] as const;

/** Asks to be paired. Decoded byte fields are views on the payload, here and below. */
export interface PairRequest {
  readonly peerId: PeerId;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** The initiator's SPAKE2 message, 33 bytes; null without a credential. */
  readonly pakeMsg: Uint8Array | null;
  readonly flowType: typeof FLOW_TYPES[number];
  /** Which kind of credential it is about; the reference does not say. */
  readonly mechanism?: typeof MECHANISMS[number];
  /** Which PIN (its first three symbols) or link (its nonce) it is about; at most 16 bytes. */
  readonly credentialId?: Uint8Array;
}

export function encodePairRequest(message: PairRequest): Uint8Array<ArrayBuffer> {
  const map = new Map<string, CborValue>([
    ["peer_id", message.peerId.bytes],
    ["nonce", message.nonce],
    ["pake_msg", message.pakeMsg],
    ["flow_type", message.flowType],
  ]);
  if (message.mechanism !== undefined) map.set("mechanism", message.mechanism);
  if (message.credentialId !== undefined) map.set("credential_id", message.credentialId);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairRequest(payload: Uint8Array): PairRequest {
  const map = decodeCborMap(payload);
  return {
    peerId: readPeerId(map),
    nonce: map.bytes("nonce", NONCE_LENGTH),
    pakeMsg: map.has("pake_msg") ? map.bytes("pake_msg", PAKE_MESSAGE_LENGTH) : null,
    flowType: readWord(map, "flow_type", FLOW_TYPES),
    ...(map.has("mechanism") && { mechanism: readWord(map, "mechanism", MECHANISMS) }),
    ...(map.has("credential_id") && {
      credentialId: map.bytesUpTo("credential_id", MAX_CREDENTIAL_ID_LENGTH),
    }),
  };
}

/** The acceptor's answer to a request. */
export interface PairChallenge {
  readonly peerId: PeerId;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** The acceptor's SPAKE2 message, 33 bytes; empty in the flow without a credential. */
  readonly pakeMsg: Uint8Array;
}

export function encodePairChallenge(message: PairChallenge): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map([
      ["peer_id", message.peerId.bytes],
      ["nonce", message.nonce],
      ["pake_msg", message.pakeMsg],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairChallenge(payload: Uint8Array): PairChallenge {
  const map = decodeCborMap(payload);
  const pakeMsg = map.bytes("pake_msg");
  if (pakeMsg.length !== 0 && pakeMsg.length !== PAKE_MESSAGE_LENGTH) {
    throw new ProtocolError("malformed", "SPAKE2 message has a wrong length");
  }
  return { peerId: readPeerId(map), nonce: map.bytes("nonce", NONCE_LENGTH), pakeMsg };
}

/** The initiator's proof that it knows the credential. */
export interface PairResponse {
  /** 32 bytes. */
  readonly keyConfirmation: Uint8Array;
}

export function encodePairResponse(message: PairResponse): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([["key_confirmation", message.keyConfirmation]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairResponse(payload: Uint8Array): PairResponse {
  return {
    keyConfirmation: decodeCborMap(payload).bytes("key_confirmation", CONFIRMATION_LENGTH),
  };
}

/** The acceptor's proof, and the initiator's last word. */
export interface PairConfirm {
  /** 32 bytes. */
  readonly keyConfirmation: Uint8Array;
  /** 32 bytes, for a peer that an operator approved. Secret. */
  readonly pairingSecret?: Uint8Array;
}

export function encodePairConfirm(message: PairConfirm): Uint8Array<ArrayBuffer> {
  const map = new Map([["key_confirmation", message.keyConfirmation]]);
  if (message.pairingSecret) map.set("pairing_secret", message.pairingSecret);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairConfirm(payload: Uint8Array): PairConfirm {
  const map = decodeCborMap(payload);
  return {
    keyConfirmation: map.bytes("key_confirmation", CONFIRMATION_LENGTH),
    ...(map.has("pairing_secret") && { pairingSecret: map.bytes("pairing_secret", SECRET_LENGTH) }),
  };
}

/** Ends a pairing without success. */
export interface PairReject {
  readonly reason: typeof REJECT_REASONS[number];
  /** A sentence for the user of the other side, at most 256 bytes. */
  readonly detail?: string;
  /** Seconds after which another attempt makes sense. */
  readonly retryAfter?: number;
}

export function encodePairReject(message: PairReject): Uint8Array<ArrayBuffer> {
  const map = new Map<string, CborValue>([["reason", message.reason]]);
  if (message.detail !== undefined) map.set("detail", message.detail);
  if (message.retryAfter !== undefined) map.set("retry_after", message.retryAfter);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairReject(payload: Uint8Array): PairReject {
  const map = decodeCborMap(payload);
  return {
    reason: readWord(map, "reason", REJECT_REASONS),
    ...(map.has("detail") && { detail: map.text("detail", MAX_TEXT_LENGTH) }),
    ...(map.has("retry_after") && { retryAfter: map.uint("retry_after") }),
  };
}

/** Tells that the pairing has been given up; valid only for the Peer ID of the link it came on. */
export interface PairRevoke {
  readonly peerId: PeerId;
}

export function encodePairRevoke(message: PairRevoke): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([["peer_id", message.peerId.bytes]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodePairRevoke(payload: Uint8Array): PairRevoke {
  return { peerId: readPeerId(decodeCborMap(payload)) };
}

function readPeerId(map: CborMap): PeerId {
  return PeerId.fromBytes(map.bytes("peer_id", PEER_ID_LENGTH));
}

function readWord<Word extends string>(map: CborMap, key: string, words: readonly Word[]): Word {
  const text = map.text(key, MAX_TEXT_LENGTH);
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) throw new ProtocolError("malformed", `CBOR field ${key} is unknown`);
  return word;
}
