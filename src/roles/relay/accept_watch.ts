import { connect } from "node:net";
import { getLogger } from "@logtape/logtape";
import type { ListenAddress } from "../http.ts";

const log = getLogger(["cairn", "relay"]);

const LOOPBACKS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

export interface AcceptWatchOptions {
  /** Milliseconds within which a connection is accepted. */
  readonly interval: number;
  /** Listens anew. */
  readonly listenAgain: (address: ListenAddress) => Promise<unknown>;
}

/**
 * Revives a listener that has gone deaf. Once the process had no file descriptor left for a
 * connection, node:net of Deno accepts none any more and says nothing of it
 * (tests/platform/accept_test.ts). So while nobody connects, this does.
 */
export class AcceptWatch {
  readonly #options: AcceptWatchOptions;
  #timer: ReturnType<typeof setInterval> | undefined;
  #hasAccepted = true;
  /** Whether our own connection has been waiting since the last look, or listening failed. */
  #isWaiting = false;
  #endProbe = () => {};

  constructor(options: AcceptWatchOptions) {
    this.#options = options;
  }

  /** Begins to look after the server that listens at `address`. */
  start(address: ListenAddress): void {
    this.#timer = setInterval(() => void this.#look(address), this.#options.interval);
  }

  /** The server has accepted a connection. */
  accepted(): void {
    this.#hasAccepted = true;
    this.#endProbe();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#endProbe();
  }

  async #look(address: ListenAddress): Promise<void> {
    const isDeaf = this.#isWaiting && !this.#hasAccepted;
    this.#endProbe();
    if (isDeaf) await this.#revive(address);
    else if (!this.#hasAccepted) this.#probe(address);
    this.#hasAccepted = false;
  }

  #probe({ host, port }: ListenAddress): void {
    const socket = connect({ host: LOOPBACKS[host] ?? host, port });
    socket.on("connect", () => this.#isWaiting = true);
    // Without a file descriptor for it there is nothing to be learned.
    socket.on("error", () => {});
    this.#endProbe = () => {
      this.#isWaiting = false;
      socket.destroy();
    };
  }

  async #revive(address: ListenAddress): Promise<void> {
    const { port } = address;
    try {
      await this.#options.listenAgain(address);
      log.warn("Listens on port {port} again; raise the limit of open files (ulimit -n)", { port });
    } catch (error) {
      this.#isWaiting = true;
      log.error("Cannot listen on port {port} again: {error}", { port, error });
    }
  }
}
