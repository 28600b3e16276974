import { type Offer, pass, type Passed, refusalOf } from "./admission.ts";
import type { Capacity } from "./capacity.ts";
import type { PairSequence } from "./pair_sequence.ts";
import { QUOTA_EXCEEDED } from "./refusal.ts";

/** One recipient's part of a message to several; `offer.size` counts the shared body too. */
export interface SharedOffer {
  readonly offer: Offer;
  readonly pair: PairSequence;
}

/** What was decided: of each part its admission, or of each why not, `undefined` for no reason. */
export type SharedAdmission =
  | { readonly kind: "refuse"; readonly reasons: readonly (string | undefined)[] }
  | {
    readonly kind: "admit";
    readonly admissions: readonly Passed[];
    /** Bytes that are counted for recipients and not stored: the body is, once. */
    readonly saved: number;
  };

/**
 * The gate for a message to several recipients: all of them pass, or none. What passes has its
 * numbers and its room; after a refusal each recipient's number is awaited again.
 */
export function admitTogether(
  parts: readonly SharedOffer[],
  sharedSize: number,
  capacity: Capacity,
): SharedAdmission {
  const fresh = parts.filter(({ offer }) => offer.known === "no");
  const saved = Math.max(0, fresh.length - 1) * sharedSize;
  const stored = fresh.reduce((sum, { offer }) => sum + offer.size, 0) - saved;
  const hasRoom = capacity.hasRoom(stored);
  const reasons = parts.map(({ offer, pair }) =>
    refusalOf(offer, pair, capacity) ??
      (hasRoom || offer.known !== "no" ? undefined : QUOTA_EXCEEDED)
  );
  if (reasons.some((reason) => reason !== undefined)) {
    for (const { offer, pair } of parts) pair.refuse(offer.sequence);
    return { kind: "refuse", reasons };
  }
  const admissions = parts.map(({ offer, pair }) => pass(offer, pair, capacity));
  capacity.save(saved);
  return { kind: "admit", admissions, saved };
}
