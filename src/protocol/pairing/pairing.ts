import { concatBytes, equalSecret, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import { hmacSha256 } from "../crypto/hmac.ts";
import { hkdfSha256 } from "../crypto/primitives.ts";
import { Spake2 } from "../crypto/spake2.ts";
import type { PairChallenge, PairConfirm, PairRequest, PairResponse } from "../pairing_messages.ts";

const INITIATOR = utf8("cairn-initiator");
const RESPONDER = utf8("cairn-responder");

/** How two peers were paired. */
export type PairingMechanism = CredentialKind | "approved";

/** What both sides may know of one another. */
export type CredentialKind = "psk" | "pin" | "link";

/** A secret that both sides know. */
export interface Credential {
  readonly kind: CredentialKind;
  /** What goes into SPAKE2. Secret. */
  readonly secret: Uint8Array;
  /** Which of the acceptor's PINs (3 bytes) or links (16 bytes) it is; a key needs no name. */
  readonly id?: Uint8Array;
}

/** The link on which a pairing runs; both ends are bound into its confirmation. */
export interface PairingChannel {
  readonly self: PeerId;
  readonly remote: PeerId;
  /** Noise handshake hash of the link. */
  readonly handshakeHash: Uint8Array;
}

/** What an initiator ends with: make the secret durable, then send the reply. */
export interface PairingOutcome {
  /** 32 bytes. */
  readonly pairingSecret: Uint8Array;
  readonly reply: PairConfirm;
}

/** Randomness that one end of a pairing needs. */
export interface PairingRandomness {
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** 64 bytes, reduced to the SPAKE2 scalar. */
  readonly scalar: Uint8Array;
}

/**
 * The side that asks, by a credential both know (SPAKE2, reference flow "Initiation"):
 * {@linkcode request}, then {@linkcode answer} to the challenge, then {@linkcode finish} with the
 * acceptor's confirmation.
 */
export class PairingInitiator {
  readonly request: PairRequest;
  readonly #channel: PairingChannel;
  readonly #spake2: Spake2;
  #keys: PairingKeys | undefined;

  constructor(
    channel: PairingChannel,
    { kind, secret, id }: Credential,
    randomness: PairingRandomness,
  ) {
    this.#channel = channel;
    this.#spake2 = Spake2.start("A", secret, INITIATOR, RESPONDER, randomness.scalar);
    this.request = {
      peerId: channel.self,
      nonce: randomness.nonce,
      pakeMsg: this.#spake2.message,
      flowType: "Initiation",
      mechanism: kind,
      ...(id && { credentialId: id }),
    };
  }

  /** @throws {ProtocolError} when the challenge is not the linked peer's or is malformed. */
  answer(challenge: PairChallenge): PairResponse {
    requireLinkedPeer(challenge.peerId, this.#channel);
    this.#keys = derivePairingKeys(
      this.#spake2.finish(challenge.pakeMsg),
      this.request.nonce,
      challenge.nonce,
      this.#channel.handshakeHash,
    );
    return { keyConfirmation: this.#own() };
  }

  /**
   * Returns the pairing secret, to be durable before `reply` is sent.
   *
   * @throws {ProtocolError} `handshake-failed` when the acceptor does not know the credential.
   */
  finish(confirm: PairConfirm): PairingOutcome {
    if (!this.#keys) throw new ProtocolError("unexpected-message", "Confirm before the challenge");
    const { remote, self } = this.#channel;
    const expected = confirmation(this.#keys.confirmationKey, "responder", self, remote);
    if (!equalSecret(confirm.keyConfirmation, expected)) {
      throw new ProtocolError("handshake-failed", "The acceptor does not know the credential");
    }
    return {
      pairingSecret: this.#keys.pairingSecret,
      reply: { keyConfirmation: this.#own() },
    };
  }

  #own(): Uint8Array {
    if (!this.#keys) throw new TypeError("Cannot confirm before the challenge");
    const { self, remote } = this.#channel;
    return confirmation(this.#keys.confirmationKey, "initiator", self, remote);
  }
}

/** The side that is asked: made from a request, then {@linkcode verify} the response. */
export class PairingAcceptor {
  readonly challenge: PairChallenge;
  readonly #channel: PairingChannel;
  readonly #keys: PairingKeys;

  /** @throws {ProtocolError} when the request is not the linked peer's or is malformed. */
  constructor(
    channel: PairingChannel,
    credential: Uint8Array,
    request: PairRequest,
    randomness: PairingRandomness,
  ) {
    requireLinkedPeer(request.peerId, channel);
    if (!request.pakeMsg) throw new ProtocolError("malformed", "Request without a SPAKE2 message");
    this.#channel = channel;
    const spake2 = Spake2.start("B", credential, INITIATOR, RESPONDER, randomness.scalar);
    this.#keys = derivePairingKeys(
      spake2.finish(request.pakeMsg),
      request.nonce,
      randomness.nonce,
      channel.handshakeHash,
    );
    this.challenge = {
      peerId: channel.self,
      nonce: randomness.nonce,
      pakeMsg: spake2.message,
    };
  }

  /**
   * Returns the pairing secret, to be durable before `confirm` is sent; `undefined` when the
   * initiator does not know the credential.
   */
  verify(
    response: PairResponse,
  ): { pairingSecret: Uint8Array; confirm: PairConfirm } | undefined {
    const { self, remote } = this.#channel;
    const key = this.#keys.confirmationKey;
    if (!equalSecret(response.keyConfirmation, confirmation(key, "initiator", remote, self))) {
      return undefined;
    }
    return {
      pairingSecret: this.#keys.pairingSecret,
      confirm: { keyConfirmation: confirmation(key, "responder", remote, self) },
    };
  }
}

/** The side that asks and is on the acceptor's list: no ceremony beyond the link's handshake. */
export class ApprovedInitiator {
  readonly request: PairRequest;
  readonly #channel: PairingChannel;

  /** `nonce` is 16 random bytes. */
  constructor(channel: PairingChannel, nonce: Uint8Array) {
    this.#channel = channel;
    this.request = {
      peerId: channel.self,
      nonce,
      pakeMsg: null,
      flowType: "Standard",
      mechanism: "approved",
    };
  }

  /** @throws {ProtocolError} always: a peer on the list is not challenged. */
  answer(): never {
    throw new ProtocolError("unexpected-message", "Challenge to a peer that needs none");
  }

  /** @throws {ProtocolError} when the confirmation brings no secret or does not fit this link. */
  finish(confirm: PairConfirm): PairingOutcome {
    return acceptApprovedSecret(this.#channel, confirm);
  }
}

/**
 * What a peer does with the secret that an acceptor gives it: make it durable, then send the reply.
 *
 * @throws {ProtocolError} when the confirmation brings no secret or does not fit this link.
 */
export function acceptApprovedSecret(
  channel: PairingChannel,
  confirm: PairConfirm,
): PairingOutcome {
  const { self, remote, handshakeHash } = channel;
  const { pairingSecret } = confirm;
  if (!pairingSecret) throw new ProtocolError("malformed", "Confirm without a pairing secret");
  const key = confirmationKeyOf(pairingSecret, handshakeHash);
  if (!equalSecret(confirm.keyConfirmation, confirmation(key, "responder", self, remote))) {
    throw new ProtocolError("handshake-failed", "Confirm does not fit this link");
  }
  return {
    pairingSecret: pairingSecret.slice(),
    reply: { keyConfirmation: confirmation(key, "initiator", self, remote) },
  };
}

/** The acceptor's answer to an approved peer; `pairingSecret` (32 random bytes) is durable by then. */
export function confirmApproved(channel: PairingChannel, pairingSecret: Uint8Array): PairConfirm {
  const { self, remote, handshakeHash } = channel;
  const key = confirmationKeyOf(pairingSecret, handshakeHash);
  return { keyConfirmation: confirmation(key, "responder", remote, self), pairingSecret };
}

/** Whether an initiator's last word shows that it has stored `pairingSecret`. */
export function isAcknowledged(
  { self, remote, handshakeHash }: PairingChannel,
  pairingSecret: Uint8Array,
  confirm: PairConfirm,
): boolean {
  const key = confirmationKeyOf(pairingSecret, handshakeHash);
  return equalSecret(confirm.keyConfirmation, confirmation(key, "initiator", remote, self));
}

interface PairingKeys {
  readonly pairingSecret: Uint8Array;
  readonly confirmationKey: Uint8Array;
}

/** `K_pair` as the reference derives it, and a confirmation key bound to this one link. */
export function derivePairingKeys(
  spakeKey: Uint8Array,
  initiatorNonce: Uint8Array,
  responderNonce: Uint8Array,
  handshakeHash: Uint8Array,
): PairingKeys {
  const pairingSecret = hkdfSha256(
    spakeKey,
    concatBytes(initiatorNonce, responderNonce),
    "cairn-pairing-session-key-v1",
    32,
  );
  return { pairingSecret, confirmationKey: confirmationKeyOf(pairingSecret, handshakeHash) };
}

function confirmationKeyOf(pairingSecret: Uint8Array, handshakeHash: Uint8Array): Uint8Array {
  return hkdfSha256(pairingSecret, handshakeHash, "cairn-pairing-key-confirm-v1", 32);
}

function confirmation(
  key: Uint8Array,
  role: "initiator" | "responder",
  initiator: PeerId,
  responder: PeerId,
): Uint8Array {
  return hmacSha256(key, concatBytes(utf8(role), initiator.bytes, responder.bytes));
}

/** @throws {ProtocolError} `wrong-peer`. */
export function requireLinkedPeer(claimed: PeerId, channel: PairingChannel): void {
  if (!claimed.equals(channel.remote)) {
    throw new ProtocolError("wrong-peer", "Pairing message names another peer than the link's");
  }
}
