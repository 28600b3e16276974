/**
 * The TURN server of RFC 8656 without sockets: facts go in as method calls with the time, effects
 * come out. Times are monotonic milliseconds; whole numbers keep the packet path free of boxes.
 *
 * A datagram is handed over where it lies in the shell's buffer, with {@linkcode HEADROOM} bytes
 * before it and {@linkcode TAILROOM} behind it that the machine may overwrite.
 */

import type { AddressWords } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import type { SessionRecord } from "./allocation.ts";
import type { Credentials } from "./authentication.ts";
import type { Client, RelaySocket } from "./client.ts";
import { Counters } from "./counters.ts";
import type { PeerPolicy } from "./peer_policy.ts";
import { type Delivery } from "./relay_data.ts";
import type { RelayPort } from "./relay_port.ts";
import type { TurnSettings } from "./settings.ts";

/** Control work for the shell, in order. */
export type TurnEffect =
  /** An answer to a client. */
  | { readonly kind: "send"; readonly client: Client; readonly bytes: Uint8Array }
  /**
   * Bind `port.endpoint.port` at the relay address of `port.family`, then report
   * `relayPortOpened` or `relayPortFailed`, at once or later.
   */
  | { readonly kind: "open-relay-port"; readonly port: RelayPort }
  /** The shell's socket is `port.socket`, or is still being opened: close it and do not report. */
  | { readonly kind: "close-relay-port"; readonly port: RelayPort }
  /** An allocation ended; its client's `allocation` is undefined again, so a UDP client may go. */
  | { readonly kind: "session-ended"; readonly session: SessionRecord };

/** What a server is made of. */
export interface TurnServerOptions {
  readonly settings: TurnSettings;
  /** Without them the server answers Binding requests and nothing else. */
  readonly credentials: Credentials | undefined;
  readonly policy: Pick<PeerPolicy, "judge">;
  /** Randomness, and the wall clock for credentials that expire. */
  readonly host: Pick<Host, "now" | "random">;
}

export declare class TurnServer {
  readonly counters: Counters;
  constructor(options: TurnServerOptions);

  /** Allocations that exist, those being opened included. */
  get allocationCount(): number;
  /** Relay ports of the range that are neither used nor reserved, both families together. */
  get freePorts(): number;

  /**
   * Takes a datagram or a frame of a stream. Returns what to send at once, in the same buffer and
   * valid until the next call; answers to requests are effects.
   */
  receiveFromClient(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: number,
  ): Delivery | undefined;
  /** Takes a datagram that came to a relayed address; `from` may be one reused object. */
  receiveFromPeer(
    port: RelayPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: AddressWords,
    now: number,
  ): Delivery | undefined;

  relayPortOpened(port: RelayPort, socket: RelaySocket, now: number): void;
  /** The port cannot be bound, or an open one failed for good. */
  relayPortFailed(port: RelayPort, now: number): void;
  /** The client's connection has ended: so does its allocation. */
  clientGone(client: Client, now: number): void;

  /** A reload: other users and secrets; running allocations go on until they must authenticate. */
  setCredentials(credentials: Credentials | undefined): void;
  /** A reload: permissions and channels that the new policy forbids end. */
  setPolicy(policy: Pick<PeerPolicy, "judge">): void;
  /** From here on no allocation is granted; those that exist go on. */
  drain(): void;
  /** Ends every allocation. */
  close(now: number): void;

  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextDeadline(): number;
  advance(now: number): void;
  /** Whether {@linkcode takeEffects} would return any. */
  get hasEffects(): boolean;
  takeEffects(): TurnEffect[];
}
