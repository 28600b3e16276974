import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { OfferState } from "../../protocol/pairing/offers.ts";
import type { PairingMechanism } from "../../protocol/pairing/pairing.ts";

/** What has become of a PIN or link that the server made. */
export type PairingOfferState = OfferState;

/** A PIN or a link for one pairing. Neither is ever shown again after it was made. */
export interface PairingOffer {
  /** Names the offer to whoever manages the server; it is no secret and no credential. */
  readonly id: string;
  /** What the other side is given. A QR code holds a link. */
  readonly kind: "pin" | "link";
  /** Only an open one can be redeemed by anybody. */
  readonly state: PairingOfferState;
  /** Unix milliseconds. */
  readonly createdAt: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Wrong guesses so far; ten burn the offer. */
  readonly failures: number;
  /** Who redeemed it. */
  readonly peerId: PeerId | undefined;
}

/** A PIN as `XXXX-XXXX`, to be typed on the other side within five minutes. Secret. */
export interface PinOffer extends PairingOffer {
  /** Always `pin`. */
  readonly kind: "pin";
  /** As it is to be shown. */
  readonly pin: string;
}

/** A pairing link. Secret. */
export interface LinkOffer extends PairingOffer {
  /** Always `link`. */
  readonly kind: "link";
  /** `cairn://pair?…` */
  readonly uri: string;
  /** The same as bytes, for a QR code: at most 256. */
  readonly payload: Uint8Array;
}

/** A peer that asks to be paired and waits for an operator. */
export interface PairingRequest {
  /** Who asks. */
  readonly peerId: PeerId;
  /** Six digits; the asking side shows the same ones unless somebody sits between. */
  readonly sas: string;
  /** Unix milliseconds. */
  readonly requestedAt: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Whether it still waits on its link. */
  readonly connected: boolean;
  /** Whether an operator unpaired it before. */
  readonly wasUnpaired: boolean;
}

/** What happens at the pairing desk, for the event stream and the audit log. */
export type PairingEvent =
  | { readonly kind: "requested"; readonly peerId: PeerId; readonly sas: string }
  | { readonly kind: "approved" | "refused"; readonly peerId: PeerId }
  | {
    readonly kind: "paired";
    readonly peerId: PeerId;
    readonly mechanism: PairingMechanism;
    /** The offer that was redeemed, for `pin` and `link`. */
    readonly offerId: string | undefined;
  }
  | { readonly kind: "unpaired"; readonly peerId: PeerId; readonly by: "operator" | "peer" }
  | { readonly kind: "offer-made" | "offer-ended"; readonly offer: PairingOffer }
  | { readonly kind: "attempt-failed"; readonly mechanism: PairingMechanism };

/** Pairing as whoever manages the server sees it: REST, the command line, the library. */
export interface PairingControl {
  /** Makes a PIN. @throws {CairnError} `refused` when too many offers are open. */
  createPin(): PinOffer;
  /** Makes a link. @throws {CairnError} `refused` when too many offers are open. */
  createLink(): LinkOffer;
  /** The open offers and those that ended in the last minutes, the latest first. */
  offers(): readonly PairingOffer[];
  /** Ends an open offer; false when there is none of that id. */
  withdraw(offerId: string): boolean;
  /** Peers that wait for approval, the longest waiting first. */
  requests(): readonly PairingRequest[];
  /**
   * Lets a peer pair, durably, whether it asked already or not; one that waits is paired at once.
   *
   * @throws {CairnError} `refused` for this server's own id, or when too many are approved.
   */
  approve(peerId: PeerId): Promise<void>;
  /** Turns a waiting request down; false when the peer did not ask. */
  refuse(peerId: PeerId): boolean;
  /**
   * Ends a pairing or an approval: deletes its keys and what waits for it, closes its links and
   * tells it. It cannot pair by key again until the key changes or it is approved. False when the
   * peer was neither paired nor approved.
   */
  unpair(peerId: PeerId): Promise<boolean>;
  /** Calls `listener` with every event; returns what ends that. */
  subscribe(listener: (event: PairingEvent) => void): () => void;
}
