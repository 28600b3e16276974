/** What a {@linkcode TurnClient} asks of its shell and tells it. */

import type { AddressPort, IpAddress } from "../../base/address.ts";

/** What a request was for. */
export type TurnPurpose =
  | { readonly kind: "binding" }
  | { readonly kind: "allocation" }
  | { readonly kind: "refresh" }
  | { readonly kind: "release" }
  | { readonly kind: "permission"; readonly address: IpAddress }
  | { readonly kind: "channel"; readonly peer: AddressPort; readonly channel: number };

/** Why a request failed. */
export interface TurnRefusal {
  /** Of an error response; `unusable-challenge` is a 401 or 438 that nothing can answer. */
  readonly code: number | "timeout" | "unusable-challenge" | "malformed";
  /** The server's words; they may be hostile. */
  readonly reason: string;
}

export type TurnClientEffect =
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  /** The answer to a Binding request: the client's address as the server sees it. */
  | { readonly kind: "mapped"; readonly address: AddressPort }
  | {
    readonly kind: "allocated";
    readonly relayed: AddressPort;
    readonly mapped: AddressPort | undefined;
    /** Seconds; it is renewed before they are over. */
    readonly lifetime: number;
  }
  /** Also each time that the permission was renewed. */
  | { readonly kind: "permitted"; readonly address: IpAddress }
  /** Also each time that the channel was renewed. */
  | { readonly kind: "channel-bound"; readonly peer: AddressPort; readonly channel: number }
  /** A permission or channel that is refused, or refused to be renewed, is gone. */
  | { readonly kind: "refused"; readonly purpose: TurnPurpose; readonly refusal: TurnRefusal }
  /** There is no allocation any more: it was refused, released, or not renewed. */
  | { readonly kind: "ended" };
