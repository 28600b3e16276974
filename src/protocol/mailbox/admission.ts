import type { Capacity } from "./capacity.ts";
import type { PairSequence } from "./pair_sequence.ts";
import {
  DISK_FULL,
  OTHER_BODY,
  RECIPIENT_NOT_PAIRED,
  SENDER_NOT_PAIRED,
  tooLarge,
} from "./refusal.ts";

/** A message at the door. */
export interface Offer {
  readonly senderPaired: boolean;
  readonly recipientPaired: boolean;
  /** Key of the recipient in the mailbox's books. */
  readonly recipient: string;
  readonly size: number;
  readonly sequence: number;
  /** Whether this id is known of this sender for this recipient, and with which body. */
  readonly known: "no" | "same body" | "other body";
  readonly diskHasRoom: boolean;
}

export type Admission = { readonly kind: "refuse"; readonly reason: string } | Passed;

export type Passed =
  /** Stored before. `advance`: the sender counts it again, so the pair's sequence follows. */
  | { readonly kind: "repeat"; readonly advance: boolean }
  | { readonly kind: "store" };

/**
 * The one gate of the mailbox, checks in the order of the published protocol. On `store`, and on a
 * `repeat` that advances, the sequence has been reserved; on `store` the room has been taken too.
 * A refusal has been noted in `pair`.
 */
export function admit(offer: Offer, pair: PairSequence, capacity: Capacity): Admission {
  const reason = refusalOf(offer, pair, capacity);
  if (reason !== undefined) {
    pair.refuse(offer.sequence);
    return { kind: "refuse", reason };
  }
  return pass(offer, pair, capacity);
}

/** Lets in what {@linkcode refusalOf} has nothing against. */
export function pass(offer: Offer, pair: PairSequence, capacity: Capacity): Passed {
  const inTurn = pair.outOfTurn(offer.sequence) === undefined &&
    pair.tooFarAhead(offer.sequence) === undefined;
  if (inTurn) pair.reserve(offer.sequence);
  if (offer.known !== "no") return { kind: "repeat", advance: inTurn };
  capacity.take(offer.recipient, offer.size);
  return { kind: "store" };
}

/** Why a message may not pass, if so; nothing is noted. */
export function refusalOf(
  offer: Offer,
  pair: PairSequence,
  capacity: Capacity,
): string | undefined {
  if (!offer.senderPaired) return SENDER_NOT_PAIRED;
  if (!offer.recipientPaired) return RECIPIENT_NOT_PAIRED;
  if (offer.known === "other body") return OTHER_BODY;
  if (offer.known === "same body") return undefined;
  const { largestBody } = capacity.limits;
  if (offer.size > largestBody) return tooLarge(offer.size, largestBody);
  return pair.outOfTurn(offer.sequence) ??
    capacity.overQuota(offer.recipient, offer.size) ??
    (offer.diskHasRoom ? undefined : DISK_FULL) ??
    capacity.overCount(offer.recipient) ??
    pair.tooFarAhead(offer.sequence);
}
