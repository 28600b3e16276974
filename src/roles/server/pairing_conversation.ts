import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
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
  type PairResponse,
} from "../../protocol/pairing_messages.ts";
import type { Offer } from "../../protocol/pairing/offers.ts";
import {
  confirmApproved,
  isAcknowledged,
  PairingAcceptor,
  type PairingChannel,
  type PairingMechanism,
} from "../../protocol/pairing/pairing.ts";
import { AskingAcceptor } from "../../protocol/pairing/sas.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { PairingGround } from "./pairing_ground.ts";

const log = getLogger(["cairn", "server"]);

/** What the response of the other side is about. */
type Challenged =
  | { readonly mechanism: "psk"; readonly pairing: PairingAcceptor }
  | { readonly mechanism: "pin" | "link"; readonly pairing: PairingAcceptor; readonly offer: Offer }
  | { readonly mechanism: "ask"; readonly pairing: AskingAcceptor };

/** The pairing messages of one link, from the side that is asked. */
export class PairingConversation {
  readonly #ground: PairingGround;
  readonly #link: LinkConnection;
  readonly #channel: PairingChannel;
  readonly #origin: string;
  /** Whom failures are counted against. */
  readonly #source: string;
  #challenged: Challenged | undefined;
  #work = Promise.resolve();

  constructor(ground: PairingGround, link: LinkConnection, source: string) {
    this.#ground = ground;
    this.#link = link;
    this.#channel = { self: ground.self, remote: link.remote, handshakeHash: link.handshakeHash };
    this.#origin = source;
    // All that comes over signaling has one address: there each peer counts for itself.
    this.#source = source.startsWith("signaling") ? `peer ${link.remote}` : source;
  }

  /** Deals with a pairing message; false for any other. */
  receive({ type, payload }: Envelope): boolean {
    if (type < MessageType.PairRequest || type > MessageType.PairReject) return false;
    this.#work = this.#work.then(() => this.#step(type, payload)).catch((error) => {
      if (error instanceof ProtocolError) {
        log.debug("Pairing ended: {message}", { message: error.message });
        return this.#link.close("protocol-error");
      }
      log.error("A pairing could not be recorded: {error}", { error });
      this.#link.close("going-away");
    });
    return true;
  }

  /**
   * Gives an approved peer its secret, once it is durable; the same one until the peer has said
   * that it has it.
   */
  async giveSecret(): Promise<void> {
    const known = this.#ground.book.get(this.#link.remote);
    const pairingSecret = known?.unacknowledged ? known.secret : this.#ground.host.random(32);
    if (!known?.unacknowledged) await this.#record("approved", pairingSecret, undefined);
    this.repeatSecret(pairingSecret);
  }

  /** Sends a secret that is on record to the approved peer that it is for. */
  repeatSecret(pairingSecret: Uint8Array): void {
    const confirm = confirmApproved(this.#channel, pairingSecret);
    this.#link.send(MessageType.PairConfirm, encodePairConfirm(confirm));
  }

  async #step(type: number, payload: Uint8Array): Promise<void> {
    if (type === MessageType.PairRequest) {
      return await this.#onRequest(decodePairRequest(payload));
    }
    if (type === MessageType.PairResponse && this.#challenged) {
      const challenged = this.#challenged;
      this.#challenged = undefined;
      return await this.#onResponse(challenged, decodePairResponse(payload));
    }
    if (type === MessageType.PairConfirm) {
      const confirm = decodePairConfirm(payload);
      const { book, host } = this.#ground;
      const secret = book.get(this.#link.remote)?.secret;
      if (secret && isAcknowledged(this.#channel, secret, confirm)) {
        await book.seen(this.#link.remote, host.now(), undefined, true);
      }
      return;
    }
    throw new ProtocolError("unexpected-message", "Pairing message out of order");
  }

  async #onRequest(request: PairRequest): Promise<void> {
    const { host, requestLimit } = this.#ground;
    this.#challenged = undefined;
    const { mechanism = request.flowType === "Standard" ? "ask" : "psk" } = request;
    const isByOffer = mechanism === "pin" || mechanism === "link";
    if (!isByOffer && this.#mustWait()) return;
    if (!requestLimit.take(this.#source, host.monotonic())) {
      return this.#reject({ reason: "RateLimited", retryAfter: 1 });
    }
    if ((request.flowType === "Standard") !== (mechanism === "approved" || mechanism === "ask")) {
      throw new ProtocolError("malformed", "Flow and mechanism do not go together");
    }
    switch (mechanism) {
      case "approved":
      case "ask":
        return await this.#onStandardRequest(request, mechanism);
      case "psk": {
        const { psk } = this.#ground;
        // Without a key the conversation goes on and fails as with a wrong one: a stranger learns nothing.
        const pairing = this.#accept(request, psk === undefined ? host.random(32) : utf8(psk));
        return this.#challenge({ mechanism, pairing });
      }
      case "pin":
      case "link": {
        const { offers } = this.#ground;
        const now = host.monotonic();
        const id = request.credentialId ?? new Uint8Array(0);
        const offer = offers.find(mechanism, id, this.#link.remote, now);
        if (!offer) return this.#reject({ reason: "AuthenticationFailed" });
        if (this.#mustWaitFor(offer)) return;
        const pairing = this.#accept(request, offer.credential.secret);
        offers.begin(offer, pairing);
        return this.#challenge({ mechanism, pairing, offer });
      }
    }
  }

  async #onStandardRequest(request: PairRequest, mechanism: "approved" | "ask"): Promise<void> {
    const { approvals, askLimit, host } = this.#ground;
    if (approvals.isApproved(this.#link.remote)) return await this.giveSecret();
    if (mechanism === "approved") return this.#reject({ reason: "UserRejected" });
    if (!askLimit.take("all", host.monotonic())) {
      return this.#reject({ reason: "RateLimited", retryAfter: 10 });
    }
    const pairing = new AskingAcceptor(this.#channel, request, host.random(16));
    this.#challenge({ mechanism, pairing });
  }

  #accept(request: PairRequest, secret: Uint8Array): PairingAcceptor {
    const { host } = this.#ground;
    return new PairingAcceptor(this.#channel, secret, request, {
      nonce: host.random(16),
      scalar: host.random(64),
    });
  }

  #challenge(challenged: Challenged): void {
    this.#challenged = challenged;
    const { challenge } = challenged.pairing;
    this.#link.send(MessageType.PairChallenge, encodePairChallenge(challenge));
  }

  async #onResponse(challenged: Challenged, response: PairResponse): Promise<void> {
    if (challenged.mechanism === "ask") return await this.#ask(challenged.pairing, response);
    const { mechanism, pairing } = challenged;
    const offer = challenged.mechanism === "psk" ? undefined : challenged.offer;
    // Asked again: other attempts may have failed since this one's request.
    if (offer ? this.#mustWaitFor(offer, pairing) : this.#mustWait()) return;
    const verified = pairing.verify(response);
    if (!verified) return this.#fail(mechanism, offer);
    const { approvals } = this.#ground;
    if (!offer && approvals.wasUnpaired(this.#link.remote)) {
      return this.#reject({ reason: "UserRejected" });
    }
    const giveBack = offer && this.#ground.offers.redeem(offer, this.#link.remote);
    try {
      if (offer) await approvals.allow(this.#link.remote);
      await this.#record(mechanism, verified.pairingSecret, offer);
    } catch (error) {
      giveBack?.();
      throw error;
    }
    if (offer) this.#ground.offers.redeemed(offer);
    this.#link.send(MessageType.PairConfirm, encodePairConfirm(verified.confirm));
  }

  async #ask(pairing: AskingAcceptor, response: PairResponse): Promise<void> {
    const { approvals, asking, host, strangers, emit } = this.#ground;
    const peerId = this.#link.remote;
    const sas = pairing.open(response);
    if (sas === undefined) return this.#reject({ reason: "AuthenticationFailed" });
    if (approvals.isApproved(peerId)) return await this.giveSecret();
    const now = host.monotonic();
    const before = asking.get(peerId, now);
    if (before?.at && before.at.link !== this.#link) before.at.link.close("replaced");
    strangers.beginWaiting(this.#link);
    const evicted = asking.add({
      peerId,
      sas,
      askedAt: now,
      requestedAt: host.now(),
      at: {
        link: this.#link,
        source: this.#origin,
        pair: () => this.giveSecret(),
        turnDown: () => this.#reject({ reason: "UserRejected" }),
      },
    });
    evicted?.at?.link.close("not-paired");
    log.info("{peer} asks to be paired", { peer: peerId.toString() });
    emit({ kind: "requested", peerId, sas });
  }

  /** Whether failures with the key, or too many new peers, make this source wait. */
  #mustWait(): boolean {
    const { keyLimit, host } = this.#ground;
    return this.#rejectFor(keyLimit.delay(this.#source, host.monotonic()));
  }

  /** Whether `offer` cannot be redeemed by this peer just now; `attempt` has had its challenge. */
  #mustWaitFor(offer: Offer, attempt?: PairingAcceptor): boolean {
    const { offers, host } = this.#ground;
    const now = host.monotonic();
    const hasPlace = attempt === undefined || offers.finish(offer, attempt);
    if (!offers.mayRedeem(offer, this.#link.remote, now)) {
      this.#reject({ reason: "AuthenticationFailed" });
      return true;
    }
    return this.#rejectFor(offers.delay(offer, now) || (hasPlace ? 0 : 1));
  }

  #rejectFor(milliseconds: number): boolean {
    if (milliseconds === 0) return false;
    this.#reject({ reason: "RateLimited", retryAfter: Math.ceil(milliseconds / 1000) });
    return true;
  }

  #fail(mechanism: "psk" | "pin" | "link", offer: Offer | undefined): void {
    const { keyLimit, offers, host, newsLimit, emit } = this.#ground;
    const now = host.monotonic();
    if (offer) offers.failed(offer, now);
    else keyLimit.failed(this.#source, now);
    if (newsLimit.take("all", now)) {
      const credential = { psk: "key", pin: "PIN", link: "link" }[mechanism];
      log.warn("A pairing was refused: the peer does not know the {credential}", { credential });
      emit({ kind: "attempt-failed", mechanism });
    }
    const wait = offer ? offers.delay(offer, now) : keyLimit.delay(this.#source, now);
    this.#reject({ reason: "AuthenticationFailed", retryAfter: Math.ceil(wait / 1000) });
  }

  async #record(
    mechanism: PairingMechanism,
    secret: Uint8Array,
    offer: Offer | undefined,
  ): Promise<void> {
    const { book, host, keyLimit, asking, strangers, emit } = this.#ground;
    const peerId = this.#link.remote;
    const isNew = !book.has(peerId);
    const unacknowledged = mechanism === "approved";
    await book.pair({ peerId, mechanism, pairedAt: host.now(), secret, unacknowledged });
    if (!offer) keyLimit.succeeded(this.#source, host.monotonic(), isNew);
    asking.remove(peerId);
    strangers.endWaiting(this.#link);
    log.info("Paired with {peer} by {mechanism}", { peer: peerId.toString(), mechanism });
    emit({ kind: "paired", peerId, mechanism, offerId: offer?.id });
  }

  #reject(rejection: PairReject): void {
    this.#link.send(MessageType.PairReject, encodePairReject(rejection));
  }
}
