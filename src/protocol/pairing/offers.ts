import { equalSecret } from "../../base/bytes.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import type { Credential, PairingAcceptor } from "./pairing.ts";

/** Milliseconds that a PIN or link can be redeemed. */
export const OFFER_LIFETIME = 300_000;
/** Milliseconds for which an ended offer can still be asked about. */
const REMEMBERED = 600_000;
const MAX_FAILURES = 10;
const DELAY_PER_FAILURE = 2_000;
const MAX_OPEN = 16;
const MAX_KNOWN = 128;
const MAX_UNFINISHED = 32;

/** What has become of an offer. */
export type OfferState = "open" | "paired" | "expired" | "burned" | "withdrawn";

/** A PIN or link as the acceptor keeps it. Times are monotonic milliseconds. */
export interface Offer {
  /** Random, for whoever manages the acceptor. */
  readonly id: string;
  readonly credential: Credential & { readonly kind: "pin" | "link"; readonly id: Uint8Array };
  readonly madeAt: number;
  state: OfferState;
  failures: number;
  lastFailure: number;
  redeemedBy: PeerId | undefined;
  /** Requests that have had their challenge, the oldest first. */
  readonly unfinished: Set<PairingAcceptor>;
}

/**
 * The PINs and links of an acceptor: each can be redeemed once within five minutes. Ten wrong
 * guesses burn it, and each makes the next wait 2 s longer. All of it is bounded.
 */
export class PairingOffers {
  readonly #offers = new Map<string, Offer>();
  /** Called with each offer that is open no longer. */
  onEnd: (offer: Offer) => void = () => {};

  /** `undefined` when too many offers are open, or one with the same credential id is. */
  add(id: string, credential: Offer["credential"], now: number): Offer | undefined {
    const others = this.redeemable(now);
    const isFull = others.filter(({ state }) => state === "open").length >= MAX_OPEN;
    if (isFull || others.some((other) => isNamed(other, credential))) return undefined;
    const offer: Offer = {
      id,
      credential,
      madeAt: now,
      state: "open",
      failures: 0,
      lastFailure: 0,
      redeemedBy: undefined,
      unfinished: new Set(),
    };
    this.#offers.set(id, offer);
    for (const { id, state } of this.#offers.values()) {
      if (this.#offers.size > MAX_KNOWN && state !== "open") this.#offers.delete(id);
    }
    return offer;
  }

  /** The latest first. */
  list(): Offer[] {
    return [...this.#offers.values()].reverse();
  }

  /** Those that can be redeemed, or redeemed again by a peer that missed the confirmation. */
  redeemable(now: number): Offer[] {
    this.advance(now);
    return [...this.#offers.values()].filter((offer) => isRedeemable(offer, now));
  }

  /** The offer that `remote` asks about, if it may redeem it. */
  find(
    kind: "pin" | "link",
    id: Uint8Array,
    remote: PeerId,
    now: number,
  ): Offer | undefined {
    return this.redeemable(now).find((offer) =>
      isNamed(offer, { kind, id }) && this.mayRedeem(offer, remote, now)
    );
  }

  /** Whether `remote` may redeem `offer`: asked again when it has proved that it knows it. */
  mayRedeem(offer: Offer, remote: PeerId, now: number): boolean {
    return isRedeemable(offer, now) && (offer.redeemedBy?.equals(remote) ?? true);
  }

  /** Milliseconds until a request or response about `offer` may be looked at. */
  delay({ failures, lastFailure }: Offer, now: number): number {
    return failures === 0 ? 0 : Math.max(0, failures * DELAY_PER_FAILURE - (now - lastFailure));
  }

  /** Notes a request that got its challenge; beyond a bound the oldest one loses its place. */
  begin({ unfinished }: Offer, attempt: PairingAcceptor): void {
    unfinished.add(attempt);
    const [oldest] = unfinished;
    if (unfinished.size > MAX_UNFINISHED && oldest) unfinished.delete(oldest);
  }

  /** Ends a request; false when it had lost its place. */
  finish({ unfinished }: Offer, attempt: PairingAcceptor): boolean {
    return unfinished.delete(attempt);
  }

  /** A wrong guess. */
  failed(offer: Offer, now: number): void {
    offer.failures++;
    offer.lastFailure = now;
    if (offer.failures >= MAX_FAILURES && isRedeemable(offer, now)) this.#end(offer, "burned");
  }

  /**
   * Takes the offer for `peer` before its pairing is recorded, so that nobody else gets it
   * meanwhile; returns what gives it back when that fails.
   */
  redeem(offer: Offer, peer: PeerId): () => void {
    const before = offer.redeemedBy;
    offer.redeemedBy = peer;
    return () => {
      offer.redeemedBy = before;
    };
  }

  /** The pairing by this offer is recorded. */
  redeemed(offer: Offer): void {
    if (offer.state === "open") this.#end(offer, "paired");
  }

  /** False when there is no open offer of that id. */
  withdraw(id: string): boolean {
    const offer = this.#offers.get(id);
    if (offer?.state !== "open") return false;
    this.#end(offer, "withdrawn");
    return true;
  }

  /** Ends what has expired by `now` and forgets what ended long ago. */
  advance(now: number): void {
    for (const offer of this.#offers.values()) {
      const age = now - offer.madeAt;
      if (age >= OFFER_LIFETIME && offer.state === "open") this.#end(offer, "expired");
      if (age >= OFFER_LIFETIME) offer.unfinished.clear();
      if (age >= REMEMBERED) this.#offers.delete(offer.id);
    }
  }

  /** When the next offer can no longer be redeemed; `undefined` when none can. */
  nextDeadline(now: number): number | undefined {
    const [first] = this.redeemable(now);
    return first && first.madeAt + OFFER_LIFETIME;
  }

  #end(offer: Offer, state: OfferState): void {
    offer.state = state;
    if (state !== "paired") offer.unfinished.clear();
    this.onEnd(offer);
  }
}

function isRedeemable({ state, madeAt }: Offer, now: number): boolean {
  return (state === "open" || state === "paired") && now - madeAt < OFFER_LIFETIME;
}

function isNamed(
  { credential }: Offer,
  name: { readonly kind: string; readonly id: Uint8Array },
): boolean {
  return credential.kind === name.kind && equalSecret(credential.id, name.id);
}
