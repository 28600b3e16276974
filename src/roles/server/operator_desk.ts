import { toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  encodeInvitation,
  fitHints,
  formatPairingLink,
  type Invitation,
  INVITATION_CREDENTIAL_LENGTH,
  INVITATION_NONCE_LENGTH,
  type InvitationHint,
} from "../../protocol/pairing/invitation.ts";
import { type Offer, OFFER_LIFETIME } from "../../protocol/pairing/offers.ts";
import {
  formatPin,
  makePin,
  PIN_ENTROPY,
  pinCredential,
  pinCredentialId,
} from "../../protocol/pairing/pin.ts";
import { invitationTopic, pinTopic } from "../../protocol/rendezvous/topics.ts";
import { REQUEST_LIFETIME } from "./asking_peers.ts";
import type { OfferTopic } from "./meeting_points.ts";
import type {
  LinkOffer,
  PairingControl,
  PairingEvent,
  PairingOffer,
  PairingRequest,
  PinOffer,
} from "./pairing_control.ts";
import type { PairingDesk } from "./pairing_desk.ts";

/** PINs that may share their first three symbols with one that is open, before giving up. */
const MAX_TRIES = 8;

/** What an {@linkcode OperatorDesk} stands on. */
export interface OperatorDeskOptions {
  readonly self: PeerId;
  readonly host: Host;
  readonly desk: PairingDesk;
  /** Ways to reach this server right now, the best first. */
  readonly hints: () => readonly InvitationHint[];
  readonly isPaired: (peerId: PeerId) => boolean;
  /** Ends a pairing for good; false when there is none. */
  readonly unpair: (peerId: PeerId) => Promise<boolean>;
}

/** Makes PINs and links, and carries out what an operator decides about peers. */
export class OperatorDesk implements PairingControl {
  readonly #options: OperatorDeskOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Called when {@linkcode topics} may have changed. */
  onTopics: () => void = () => {};

  constructor(options: OperatorDeskOptions) {
    this.#options = options;
    options.desk.offers.onEnd = (offer) => {
      options.desk.emit({ kind: "offer-ended", offer: this.#view(offer) });
      this.onTopics();
    };
  }

  createPin(): PinOffer {
    const { host } = this.#options;
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const pin = makePin(host.random(PIN_ENTROPY));
      const id = pinCredentialId(pin);
      const offer = this.#add({ kind: "pin", id, secret: pinCredential(pin) });
      if (offer) return { ...this.#made(offer), kind: "pin", pin: formatPin(pin) };
    }
    throw tooMany();
  }

  createLink(): LinkOffer {
    const { host, self, hints } = this.#options;
    const createdAt = Math.floor(host.now() / 1000);
    const base = {
      peerId: self,
      nonce: host.random(INVITATION_NONCE_LENGTH),
      credential: host.random(INVITATION_CREDENTIAL_LENGTH),
      createdAt,
      expiresAt: createdAt + OFFER_LIFETIME / 1000,
    };
    const invitation: Invitation = { ...base, hints: fitHints(base, hints()) };
    const offer = this.#add({ kind: "link", id: base.nonce, secret: base.credential });
    if (!offer) throw tooMany();
    return {
      ...this.#made(offer),
      kind: "link",
      uri: formatPairingLink(invitation),
      payload: encodeInvitation(invitation),
    };
  }

  offers(): PairingOffer[] {
    const { desk: { offers }, host } = this.#options;
    offers.advance(host.monotonic());
    return offers.list().map((offer) => this.#view(offer));
  }

  withdraw(offerId: string): boolean {
    return this.#options.desk.offers.withdraw(offerId);
  }

  /** Where peers with an open PIN or link look for this server. */
  topics(): OfferTopic[] {
    const { desk: { offers }, host } = this.#options;
    return offers.redeemable(host.monotonic()).map(({ id, credential }) => ({
      offerId: id,
      isGuessable: credential.kind === "pin",
      topic: credential.kind === "pin"
        ? pinTopic(credential.id)
        : invitationTopic(credential.secret, credential.id),
    }));
  }

  requests(): PairingRequest[] {
    const { desk: { asking, approvals }, host } = this.#options;
    return asking.list(host.monotonic()).map(({ peerId, sas, at, requestedAt }) => ({
      peerId,
      sas,
      requestedAt,
      expiresAt: requestedAt + REQUEST_LIFETIME,
      connected: at !== undefined && !at.link.closed,
      wasUnpaired: approvals.wasUnpaired(peerId),
    }));
  }

  async approve(peerId: PeerId): Promise<void> {
    const { self, desk, host } = this.#options;
    if (peerId.equals(self)) {
      throw new CairnError("refused", "This is the server's own Peer ID; name the peer's");
    }
    await desk.approvals.approve(peerId);
    desk.emit({ kind: "approved", peerId });
    const waiting = desk.asking.get(peerId, host.monotonic());
    desk.asking.remove(peerId);
    if (waiting?.at && !waiting.at.link.closed) await waiting.at.pair();
  }

  refuse(peerId: PeerId): boolean {
    const { desk, host } = this.#options;
    const waiting = desk.asking.get(peerId, host.monotonic());
    if (!waiting) return false;
    desk.asking.remove(peerId);
    waiting.at?.turnDown();
    waiting.at?.link.close("not-paired");
    desk.emit({ kind: "refused", peerId });
    return true;
  }

  async unpair(peerId: PeerId): Promise<boolean> {
    const { desk, unpair } = this.#options;
    const wasApproved = desk.approvals.isApproved(peerId);
    // Denied first: a peer that comes back at once must not be paired by its key.
    if (wasApproved || this.#options.isPaired(peerId)) await desk.approvals.deny(peerId);
    const wasPaired = await unpair(peerId);
    return wasPaired || wasApproved;
  }

  subscribe(listener: (event: PairingEvent) => void): () => void {
    return this.#options.desk.subscribe(listener);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #add(credential: Offer["credential"]): Offer | undefined {
    const { desk: { offers }, host } = this.#options;
    return offers.add(toHex(host.random(8)), credential, host.monotonic());
  }

  #made(offer: Offer): PairingOffer {
    const view = this.#view(offer);
    this.#options.desk.emit({ kind: "offer-made", offer: view });
    this.onTopics();
    this.#arm();
    return view;
  }

  /** One timer, for the offer that expires first. */
  #arm(): void {
    const { desk: { offers }, host } = this.#options;
    clearTimeout(this.#timer);
    const now = host.monotonic();
    const deadline = offers.nextDeadline(now);
    if (deadline === undefined) return;
    this.#timer = setTimeout(() => {
      offers.advance(host.monotonic());
      this.onTopics();
      this.#arm();
    }, deadline - now);
  }

  #view({ id, credential, state, failures, madeAt, redeemedBy }: Offer): PairingOffer {
    const { host } = this.#options;
    const createdAt = Math.round(host.now() - (host.monotonic() - madeAt));
    return {
      id,
      kind: credential.kind,
      state,
      createdAt,
      expiresAt: createdAt + OFFER_LIFETIME,
      failures,
      peerId: state === "paired" ? redeemedBy : undefined,
    };
  }
}

function tooMany(): CairnError {
  return new CairnError(
    "refused",
    "Too many PINs and links are open; wait until some have expired, or withdraw them",
  );
}
