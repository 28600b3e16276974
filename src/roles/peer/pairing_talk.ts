import { CairnError, ProtocolError } from "../../base/errors.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  decodePairChallenge,
  decodePairConfirm,
  decodePairReject,
  encodePairRequest,
  encodePairResponse,
  type PairChallenge,
  type PairConfirm,
  type PairRequest,
  type PairResponse,
} from "../../protocol/pairing_messages.ts";
import {
  ApprovedInitiator,
  PairingInitiator,
  type PairingOutcome,
} from "../../protocol/pairing/pairing.ts";
import { AskingInitiator } from "../../protocol/pairing/sas.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import {
  credentialOf,
  explainImpostor,
  explainReject,
  type PairingAim,
  PairingInterrupted,
} from "./pairing_aim.ts";

/** What a conversation needs beside its link. */
export interface PairingTalkOptions {
  readonly aim: PairingAim;
  readonly context: LinkContext;
  readonly signal: AbortSignal;
  /** Asked before each answer to a challenge: it lets the other side test one guess. */
  readonly mayAnswer?: () => boolean;
}

/** What an initiator of either flow can do. */
interface Initiator {
  readonly request: PairRequest;
  answer(challenge: PairChallenge): PairResponse;
  finish(confirm: PairConfirm): PairingOutcome;
}

/**
 * Speaks on a link until the other side has confirmed the pairing. Resolves with what is to be made
 * durable before the reply is sent.
 *
 * @throws {CairnError} `pairing-failed` or `timeout`, saying what to do.
 */
export function talk(link: LinkConnection, options: PairingTalkOptions): Promise<PairingOutcome> {
  const { aim, signal, mayAnswer = () => true } = options;
  const initiator = initiatorFor(link, options);
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      signal.removeEventListener("abort", abort);
      reject(error);
    };
    const abort = () => fail(new CairnError("timeout", "The pairing took too long; try again"));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    link.onClose = (reason) => fail(new PairingInterrupted(reason));
    link.onEnvelope = ({ type, payload }) => {
      try {
        if (type === MessageType.PairChallenge) {
          const challenge = decodePairChallenge(payload);
          if (!mayAnswer()) return fail(explainImpostor(aim.mechanism, undefined));
          link.send(MessageType.PairResponse, encodePairResponse(initiator.answer(challenge)));
        } else if (type === MessageType.PairConfirm) {
          const outcome = initiator.finish(decodePairConfirm(payload));
          signal.removeEventListener("abort", abort);
          link.onClose = () => {};
          resolve(outcome);
        } else if (type === MessageType.PairReject) {
          fail(explainReject(decodePairReject(payload), aim.mechanism));
        }
      } catch (error) {
        if (error instanceof ProtocolError) return fail(explainImpostor(aim.mechanism, error));
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    };
    link.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  });
}

function initiatorFor(link: LinkConnection, options: PairingTalkOptions): Initiator {
  const { aim, context: { identity, host } } = options;
  const channel = {
    self: identity.peerId,
    remote: link.remote,
    handshakeHash: link.handshakeHash,
  };
  switch (aim.mechanism) {
    case "approved":
      return new ApprovedInitiator(channel, host.random(16));
    case "ask": {
      const asking = new AskingInitiator(channel, host.random(32));
      return {
        request: asking.request,
        answer(challenge) {
          const { response, sas } = asking.answer(challenge);
          aim.onSas(sas);
          return response;
        },
        finish: (confirm) => asking.finish(confirm),
      };
    }
    default:
      return new PairingInitiator(channel, credentialOf(aim), {
        nonce: host.random(16),
        scalar: host.random(64),
      });
  }
}
