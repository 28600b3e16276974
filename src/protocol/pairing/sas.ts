import { concatBytes, equalSecret, readU32, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { hkdfSha256, sha256 } from "../crypto/primitives.ts";
import type { PairChallenge, PairConfirm, PairRequest, PairResponse } from "../pairing_messages.ts";
import {
  acceptApprovedSecret,
  type PairingChannel,
  type PairingOutcome,
  requireLinkedPeer,
} from "./pairing.ts";

const COMMITMENT_CONTEXT = utf8("cairn-sas-commit-v1");
const COMMITMENT_LENGTH = 16;
const DIGITS = 6;

/**
 * Six digits of a transcript hash: the reference's scheme A (HKDF to 4 bytes, big-endian, modulo
 * 10^6).
 */
export function sasDigits(transcriptHash: Uint8Array): string {
  const bytes = hkdfSha256(transcriptHash, undefined, "cairn-sas-derivation-v1", 4);
  return String(readU32(bytes, 0) % 10 ** DIGITS).padStart(DIGITS, "0");
}

/**
 * What binds the asking side to `opening` (32 bytes) before it sees the other side's number:
 * without it, whoever sits between two links could try numbers until both sides show the same.
 */
export function sasCommitment(handshakeHash: Uint8Array, opening: Uint8Array): Uint8Array {
  return sha256(COMMITMENT_CONTEXT, handshakeHash, opening).slice(0, COMMITMENT_LENGTH);
}

/** The digits of one link and the two numbers that both sides contributed. */
export function sasOf(
  handshakeHash: Uint8Array,
  opening: Uint8Array,
  acceptorNonce: Uint8Array,
): string {
  return sasDigits(sha256(concatBytes(handshakeHash, opening, acceptorNonce)));
}

/** The side that asks an operator for approval (flow `Standard`): both sides show a SAS. */
export class AskingInitiator {
  readonly request: PairRequest;
  readonly #channel: PairingChannel;
  readonly #opening: Uint8Array;

  /** `opening` is 32 random bytes. */
  constructor(channel: PairingChannel, opening: Uint8Array) {
    this.#channel = channel;
    this.#opening = opening;
    this.request = {
      peerId: channel.self,
      nonce: sasCommitment(channel.handshakeHash, opening),
      pakeMsg: null,
      flowType: "Standard",
      mechanism: "ask",
    };
  }

  /** @throws {ProtocolError} when the challenge is another peer's, or of another flow. */
  answer(challenge: PairChallenge): { response: PairResponse; sas: string } {
    requireLinkedPeer(challenge.peerId, this.#channel);
    if (challenge.pakeMsg.length > 0) {
      throw new ProtocolError("unexpected-message", "SPAKE2 in a flow without a credential");
    }
    return {
      response: { keyConfirmation: this.#opening },
      sas: sasOf(this.#channel.handshakeHash, this.#opening, challenge.nonce),
    };
  }

  /** @throws {ProtocolError} when the confirmation brings no secret or does not fit this link. */
  finish(confirm: PairConfirm): PairingOutcome {
    return acceptApprovedSecret(this.#channel, confirm);
  }
}

/** The side that is asked: made from a request, then {@linkcode open} with the response. */
export class AskingAcceptor {
  readonly challenge: PairChallenge;
  readonly #channel: PairingChannel;
  readonly #commitment: Uint8Array;

  /** `nonce` is 16 random bytes. @throws {ProtocolError} when the request is another peer's. */
  constructor(channel: PairingChannel, request: PairRequest, nonce: Uint8Array) {
    requireLinkedPeer(request.peerId, channel);
    this.#channel = channel;
    this.#commitment = request.nonce.slice();
    this.challenge = { peerId: channel.self, nonce, pakeMsg: new Uint8Array(0) };
  }

  /** The digits to show; `undefined` when the response does not open the commitment. */
  open(response: PairResponse): string | undefined {
    const { handshakeHash } = this.#channel;
    const opening = response.keyConfirmation;
    if (!equalSecret(sasCommitment(handshakeHash, opening), this.#commitment)) return undefined;
    return sasOf(handshakeHash, opening, this.challenge.nonce);
  }
}
