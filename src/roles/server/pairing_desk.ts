import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { RateLimit } from "../../base/rate_limit.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  decodePairConfirm,
  decodePairRequest,
  decodePairResponse,
  encodePairChallenge,
  encodePairConfirm,
  encodePairReject,
  type PairReject,
  type PairRequest,
} from "../../protocol/pairing_messages.ts";
import { AttemptLimit } from "../../protocol/pairing/attempt_limit.ts";
import {
  confirmApproved,
  PairingAcceptor,
  type PairingMechanism,
} from "../../protocol/pairing/pairing.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { PeerBook } from "../peer_book.ts";

const log = getLogger(["cairn", "server"]);

/** Requests of one source: each costs the acceptor a few milliseconds. */
const REQUESTS = { burst: 20, perSecond: 2 };
const MAX_MESSAGES = 16;
const TIME_LIMIT = 30_000;
const MAX_STRANGERS = 128;

/** Settings of a {@linkcode PairingDesk}. */
export interface PairingDeskOptions {
  readonly self: PeerId;
  readonly book: PeerBook;
  readonly host: Host;
  readonly psk: string | undefined;
  readonly approvedPeers: readonly PeerId[];
}

/** Pairs strangers whose links may carry nothing else, a bounded number of them for 30 s each. */
export class PairingDesk {
  readonly #options: PairingDeskOptions;
  readonly #limit = new AttemptLimit();
  readonly #requests = new RateLimit(REQUESTS);
  readonly #approved: ReadonlySet<string>;
  readonly #strangers = new Set<LinkConnection>();

  constructor(options: PairingDeskOptions) {
    this.#options = options;
    this.#approved = new Set(options.approvedPeers.map(String));
  }

  /** Takes over the link of a peer that is not paired. `source` is where it came from. */
  welcome(link: LinkConnection, source: string): void {
    if (this.#strangers.size >= MAX_STRANGERS) return link.close("not-paired");
    this.#strangers.add(link);
    const timer = setTimeout(() => link.close("timeout"), TIME_LIMIT);
    const pairing = this.conversation(link, source);
    let messages = 0;
    link.onClose = () => {
      clearTimeout(timer);
      this.#strangers.delete(link);
    };
    link.onEnvelope = (envelope) => {
      if (++messages > MAX_MESSAGES || !pairing(envelope)) link.close("not-paired");
    };
  }

  /** Closes the links of all strangers. */
  close(): void {
    for (const link of [...this.#strangers]) link.close("going-away");
  }

  /** Returns what deals with the pairing messages of one link; false for any other message. */
  conversation(link: LinkConnection, source: string): (envelope: Envelope) => boolean {
    let acceptor: { pairing: PairingAcceptor; mechanism: PairingMechanism } | undefined;
    const run = async (type: number, payload: Uint8Array) => {
      if (type === MessageType.PairRequest) {
        acceptor = await this.#onRequest(link, source, decodePairRequest(payload));
      } else if (type === MessageType.PairResponse && acceptor) {
        const { pairing, mechanism } = acceptor;
        acceptor = undefined;
        // Asked again: other attempts may have failed since this one's request.
        if (this.#mustWait(link, source)) return;
        const verified = pairing.verify(decodePairResponse(payload));
        if (!verified) return this.#fail(link, source);
        await this.#record(link, source, mechanism, verified.pairingSecret);
        link.send(MessageType.PairConfirm, encodePairConfirm(verified.confirm));
      } else if (type === MessageType.PairConfirm) {
        decodePairConfirm(payload);
      } else {
        throw new ProtocolError("unexpected-message", "Pairing message out of order");
      }
    };
    let work = Promise.resolve();
    return ({ type, payload }) => {
      if (type < MessageType.PairRequest || type > MessageType.PairReject) return false;
      work = work.then(() => run(type, payload)).catch((error) => {
        if (error instanceof ProtocolError) {
          log.debug("Pairing ended: {message}", { message: error.message });
          return link.close("protocol-error");
        }
        log.error("A pairing could not be recorded: {error}", { error });
        link.close("going-away");
      });
      return true;
    };
  }

  async #onRequest(link: LinkConnection, source: string, request: PairRequest) {
    const { host, psk, self } = this.#options;
    if (this.#mustWait(link, source)) return undefined;
    if (!this.#requests.take(source, host.monotonic())) {
      reject(link, { reason: "RateLimited", retryAfter: 1 });
      return undefined;
    }
    const channel = { self, remote: link.remote, handshakeHash: link.handshakeHash };
    if (request.flowType === "Standard") {
      if (!this.#approved.has(link.remote.toString())) {
        reject(link, { reason: "UserRejected" });
        return undefined;
      }
      const pairingSecret = host.random(32);
      await this.#record(link, source, "approved", pairingSecret);
      const confirm = confirmApproved(channel, pairingSecret);
      link.send(MessageType.PairConfirm, encodePairConfirm(confirm));
      return undefined;
    }
    const mechanism = request.mechanism ?? "psk";
    if (mechanism !== "psk") {
      reject(link, { reason: "UserRejected" });
      return undefined;
    }
    // Without a key the conversation goes on and fails as with a wrong one: a stranger learns nothing.
    const credential = psk === undefined ? host.random(32) : utf8(psk);
    const pairing = new PairingAcceptor(channel, credential, request, {
      nonce: host.random(16),
      scalar: host.random(64),
    });
    link.send(MessageType.PairChallenge, encodePairChallenge(pairing.challenge));
    return { pairing, mechanism };
  }

  #mustWait(link: LinkConnection, source: string): boolean {
    const wait = this.#limit.delay(source, this.#options.host.monotonic());
    if (wait > 0) reject(link, { reason: "RateLimited", retryAfter: Math.ceil(wait / 1000) });
    return wait > 0;
  }

  async #record(
    link: LinkConnection,
    source: string,
    mechanism: PairingMechanism,
    secret: Uint8Array,
  ): Promise<void> {
    const { book, host } = this.#options;
    const isNew = !book.has(link.remote);
    await book.pair({ peerId: link.remote, mechanism, pairedAt: host.now(), secret });
    this.#limit.succeeded(source, host.monotonic(), isNew);
    log.info("Paired with {peer} by {mechanism}", { peer: link.remote.toString(), mechanism });
  }

  #fail(link: LinkConnection, source: string): void {
    const now = this.#options.host.monotonic();
    this.#limit.failed(source, now);
    log.warn("A pairing was refused: the peer does not know the key");
    const retryAfter = Math.ceil(this.#limit.delay(source, now) / 1000);
    reject(link, { reason: "AuthenticationFailed", retryAfter });
  }
}

function reject(link: LinkConnection, rejection: PairReject): void {
  link.send(MessageType.PairReject, encodePairReject(rejection));
}
