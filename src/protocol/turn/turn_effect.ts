import type { SessionRecord } from "./allocation.ts";
import type { Client } from "./client.ts";
import type { RelayPort } from "./relay_port.ts";

/** Control work for the shell, in order. */
export type TurnEffect =
  /** An answer to a client. */
  | { readonly kind: "send"; readonly client: Client; readonly bytes: Uint8Array }
  /**
   * Bind `port.endpoint.port` at the relay address of `port.family`, then report
   * `relayPortOpened` or `relayPortFailed`, at once or later.
   */
  | { readonly kind: "open-relay-port"; readonly port: RelayPort }
  /**
   * Close `port.socket`, or what is still being opened, and report nothing more about this port.
   * There is nothing to close when opening it has failed meanwhile.
   */
  | { readonly kind: "close-relay-port"; readonly port: RelayPort }
  /**
   * `port` is reserved: keep its socket for the sibling that opens the same port, or for when it is
   * closed. Nothing that comes to it is wanted.
   */
  | { readonly kind: "set-relay-port-aside"; readonly port: RelayPort }
  /** An allocation that was granted has ended. */
  | { readonly kind: "session-ended"; readonly session: SessionRecord };
