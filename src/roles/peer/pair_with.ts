import { CairnError, ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  decodePairChallenge,
  decodePairConfirm,
  decodePairReject,
  encodePairConfirm,
  encodePairRequest,
  encodePairResponse,
  type PairReject,
} from "../../protocol/pairing_messages.ts";
import {
  ApprovedInitiator,
  PairingInitiator,
  type PairingMechanism,
  type PairingOutcome,
} from "../../protocol/pairing/pairing.ts";
import { contactTopic } from "../../protocol/rendezvous/topics.ts";
import { initiateLink, type LinkConnection, type LinkContext } from "../link_connection.ts";
import type { PeerBook } from "../peer_book.ts";
import { FALLBACK_DELAY, inTurn, rankClients } from "../ranked_clients.ts";
import { initiateOnTopic } from "../topic_carrier.ts";
import { dialLink } from "./dial_link.ts";
import type { SignalClient, TopicAccess } from "../signal_client.ts";

/** How to prove that one may pair: a credential that both know, or being on the other's list. */
export type PairingProof =
  | { readonly mechanism: Exclude<PairingMechanism, "approved">; readonly credential: Uint8Array }
  | { readonly mechanism: "approved" };

/** What pairing with an acceptor needs. */
export interface PairWithOptions {
  readonly acceptor: PeerId;
  readonly proof: PairingProof;
  readonly book: PeerBook;
  readonly clients: readonly (TopicAccess & Pick<SignalClient, "whenConnected" | "lastError">)[];
  readonly context: LinkContext;
  readonly serverUrl: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Pairs with an acceptor that is reached at an address or, without one, over its contact topic.
 * When this resolves the pairing is durable on both sides.
 *
 * @throws {CairnError} `pairing-failed`, `unreachable` or `timeout`, saying what to do.
 */
export async function pairWith(options: PairWithOptions): Promise<void> {
  const link = await reach(options);
  try {
    const { pairingSecret, reply } = await converse(link, options);
    await options.book.pair({
      peerId: options.acceptor,
      mechanism: options.proof.mechanism,
      pairedAt: options.context.host.now(),
      secret: pairingSecret,
    });
    link.send(MessageType.PairConfirm, encodePairConfirm(reply));
    if (options.serverUrl !== undefined) {
      await options.book.seen(options.acceptor, options.context.host.now(), options.serverUrl);
    }
  } finally {
    link.close("going-away");
  }
}

async function reach(options: PairWithOptions): Promise<LinkConnection> {
  const { acceptor, clients, serverUrl, signal } = options;
  // A link for pairing must not take the deliveries of one that listens.
  const context = { ...options.context, capabilities: [] };
  if (serverUrl !== undefined) return await dialLink(serverUrl, acceptor, context, { signal });
  if (clients.length === 0) {
    throw new CairnError(
      "unreachable",
      `No way to reach ${acceptor}; name a signaling server (--signal) or its address ` +
        "(--server-url)",
    );
  }
  const attempts = new AbortController();
  const stop = AbortSignal.any([signal, attempts.signal]);
  let isNominated = false;
  const nominate = () => !isNominated && (isNominated = true);
  try {
    const topic = contactTopic(acceptor);
    return await inTurn(
      rankClients(clients, topic).map((client) => async () => {
        await client.whenConnected(stop);
        const socket = initiateOnTopic(client, topic, context.host.random(16));
        return await initiateLink(socket, context, {
          expectedPeer: acceptor,
          signal: stop,
          nominate,
        });
      }),
      FALLBACK_DELAY,
    );
  } catch (error) {
    const refused = clients.map((client) => client.lastError).find((cause) => cause !== undefined);
    if (refused) throw refused;
    throw new CairnError(
      "unreachable",
      `${acceptor} did not answer through the signaling server; check its Peer ID, that it runs, ` +
        "and that it uses the same signaling server",
      { cause: error },
    );
  } finally {
    attempts.abort();
  }
}

function converse(
  link: LinkConnection,
  options: PairWithOptions,
): Promise<PairingOutcome> {
  const { context: { host }, proof, signal } = options;
  const initiator = makeInitiator(link, options, host);
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      signal.removeEventListener("abort", abort);
      reject(error);
    };
    const abort = () => fail(new CairnError("timeout", "The pairing took too long; try again"));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    link.onClose = (reason) => fail(closedError(reason));
    link.onEnvelope = ({ type, payload }) => {
      try {
        if (type === MessageType.PairChallenge && initiator instanceof PairingInitiator) {
          const response = initiator.answer(decodePairChallenge(payload));
          link.send(MessageType.PairResponse, encodePairResponse(response));
        } else if (type === MessageType.PairConfirm) {
          const outcome = initiator.finish(decodePairConfirm(payload));
          signal.removeEventListener("abort", abort);
          link.onClose = () => {};
          resolve(outcome);
        } else if (type === MessageType.PairReject) {
          fail(rejectError(decodePairReject(payload), proof));
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) return fail(asError(error));
        fail(
          new CairnError(
            "pairing-failed",
            proof.mechanism === "approved"
              ? "The other side broke the pairing protocol; nothing was changed"
              : "The other side does not know this key; check the key and the Peer ID",
            { cause: error },
          ),
        );
      }
    };
    link.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  });
}

function makeInitiator(link: LinkConnection, options: PairWithOptions, host: Host) {
  const channel = {
    self: options.context.identity.peerId,
    remote: link.remote,
    handshakeHash: link.handshakeHash,
  };
  const { proof } = options;
  if (proof.mechanism === "approved") return new ApprovedInitiator(channel, host.random(16));
  return new PairingInitiator(channel, proof.mechanism, proof.credential, {
    nonce: host.random(16),
    scalar: host.random(64),
  });
}

function rejectError(reject: PairReject, proof: PairingProof): CairnError {
  const wait = reject.retryAfter ? `; try again in ${reject.retryAfter} s` : "";
  switch (reject.reason) {
    case "RateLimited":
      return new CairnError(
        "pairing-failed",
        `Too many pairing attempts${wait || "; wait a while"}`,
      );
    case "UserRejected":
      return new CairnError(
        "pairing-failed",
        proof.mechanism === "approved"
          ? "This peer is not on the other side's list of approved peers; have it approved first"
          : "The other side does not take pairings by this method",
      );
    case "Timeout":
      return new CairnError("pairing-failed", "The pairing took too long; try again");
    default:
      return new CairnError(
        "pairing-failed",
        `The key was refused${wait}; check that both sides were given the same key`,
      );
  }
}

function closedError(reason: string): CairnError {
  return new CairnError("pairing-failed", `The other side ended the pairing (${reason})`);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
