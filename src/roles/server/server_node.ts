import { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { RelayStats } from "../../protocol/hub/relay_exchange.ts";
import type { PairingControl } from "./pairing_control.ts";
import { startServer } from "./run_server.ts";
import type { RunningServer, ServerOptions } from "./server_options.ts";

/** An always-on server for use in a program of one's own. */
export interface ServerNode {
  /** This server's id. @throws {CairnError} `closed` before {@linkcode ServerNode.start}. */
  readonly peerId: PeerId;
  /** Makes PINs and links for peers, approves those that ask, unpairs. */
  readonly pairing: PairingControl;
  /** Where it listens. */
  readonly addresses: RunningServer["addresses"];
  /** Numbers of the personal relay; `undefined` when it is off. */
  relayStats(): RelayStats | undefined;
  /** Brings it up. @throws {CairnError} as the program `cairn server` reports it. */
  start(): Promise<void>;
  /** Ends it and leaves nothing behind; a second call does nothing. */
  close(): Promise<void>;
}

/**
 * Makes a server that {@linkcode ServerNode.start} brings up.
 *
 * @example
 * ```ts no-eval
 * const server = createServer({ storagePath: "./server", psk: "correct horse battery staple" });
 * await server.start();
 * console.log(`Server Peer ID: ${server.peerId}`);
 * ```
 */
export function createServer(options: ServerOptions): ServerNode {
  let running: Promise<RunningServer> | undefined;
  let started: RunningServer | undefined;
  const current = () => {
    if (started) return started;
    throw new CairnError("closed", "The server does not run; start it first");
  };
  return {
    get peerId() {
      return current().peerId;
    },
    get pairing() {
      return current().pairing;
    },
    get addresses() {
      return current().addresses;
    },
    relayStats: () => current().relayStats(),
    async start() {
      running ??= startServer(options);
      try {
        started = await running;
      } catch (error) {
        running = undefined;
        throw error;
      }
    },
    async close() {
      const server = await running?.catch(() => undefined);
      running = undefined;
      started = undefined;
      await server?.close();
    },
  };
}
