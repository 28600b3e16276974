import { connect, type Socket } from "node:net";
import { getLogger } from "@logtape/logtape";
import type { ListenAddress } from "./http.ts";

const log = getLogger(["cairn", "listen"]);

const LOOPBACKS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
/** Milliseconds that clients wait at most for our own connection, which comes from this machine. */
const CONNECT_PATIENCE = 250;
/** Milliseconds, at most, after which our own connection should have been accepted. */
const ACCEPT_PATIENCE = 5_000;

export interface AcceptWatchOptions {
  /** Milliseconds of silence after which the listener is tried. */
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
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  /** Whether a connection was accepted in the present interval. */
  #hasAccepted = false;
  #probe: Probe | undefined;
  /** Whether one of our own was ever accepted: a firewall may stop them all. */
  #getsThrough = false;

  constructor(options: AcceptWatchOptions) {
    this.#options = options;
  }

  /** Begins to look after the listener at `address`; first of all it learns what gets through. */
  start(address: ListenAddress): void {
    void this.#watch(address);
  }

  /** A connection was accepted: it goes to `take`, unless it is our own and ends here. */
  accepted(connection: Socket, take: (connection: Socket) => void): void {
    this.#hasAccepted = true;
    connection.on("error", () => {});
    const probe = this.#probe;
    if (!probe?.isConnecting) return this.#sort(connection, take);
    void probe.settled.then(() => this.#sort(connection, take));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#probe?.close();
  }

  #sort(connection: Socket, take: (connection: Socket) => void): void {
    if (this.#probe?.isOtherEndOf(connection)) {
      this.#getsThrough = true;
      this.#endProbe();
      connection.destroy();
    } else if (this.#isClosed) {
      connection.destroy();
    } else if (!connection.destroyed) {
      take(connection);
    }
  }

  async #watch(address: ListenAddress): Promise<void> {
    let isFirst = true;
    let isDeaf = false;
    while (!this.#isClosed) {
      await this.#pass(this.#options.interval);
      const mustTry = isFirst || !this.#hasAccepted;
      isFirst = false;
      isDeaf ||= mustTry && await this.#isDeaf(address);
      if (isDeaf) isDeaf = !await this.#revive(address);
      this.#hasAccepted = false;
    }
  }

  async #isDeaf(address: ListenAddress): Promise<boolean> {
    this.#hasAccepted = false;
    const probe = this.#probe = new Probe(address);
    const patience = Math.min(this.#options.interval, ACCEPT_PATIENCE);
    let isWaiting = true;
    // Twice, for a process that was busy looks first and accepts then.
    for (let look = 0; look < 2 && isWaiting; look++) {
      await this.#pass(patience);
      isWaiting = !this.#hasAccepted && probe.waits(this.#getsThrough);
    }
    this.#endProbe();
    return isWaiting;
  }

  /** Never resolves once the watch is closed. */
  #pass(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.#timer = setTimeout(resolve, milliseconds));
  }

  #endProbe(): void {
    this.#probe?.close();
    this.#probe = undefined;
  }

  /** Returns whether that could be done. */
  async #revive(address: ListenAddress): Promise<boolean> {
    const { port } = address;
    try {
      await this.#options.listenAgain(address);
      log.warn("Listens on port {port} again; raise the limit of open files (ulimit -n)", { port });
      return true;
    } catch (error) {
      log.error("Cannot listen on port {port} again: {error}", { port, error });
      return false;
    }
  }
}

/** A connection of our own, which says nothing. */
class Probe {
  /** Resolves when the probe is known to its listener, or is not going to be. */
  readonly settled: Promise<void>;
  isConnecting = true;
  readonly #socket: Socket;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor({ host, port }: ListenAddress) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const settle = () => {
      clearTimeout(this.#timer);
      this.isConnecting = false;
      resolve();
    };
    this.settled = promise;
    this.#timer = setTimeout(settle, CONNECT_PATIENCE);
    this.#socket = connect({ host: LOOPBACKS[host] ?? host, port });
    this.#socket.on("connect", settle).on("close", settle);
    // Without a file descriptor for it there is nothing to be learned.
    this.#socket.on("error", () => {});
  }

  /**
   * Whether it is still to be accepted. When the queue of the system is full it cannot even be made,
   * which counts if its like `getsThrough` otherwise.
   */
  waits(getsThrough: boolean): boolean {
    return !this.#socket.destroyed && (getsThrough || !this.#socket.connecting);
  }

  isOtherEndOf({ remoteAddress, remotePort }: Socket): boolean {
    const { localAddress, localPort } = this.#socket;
    return localPort !== undefined && remotePort === localPort && remoteAddress === localAddress;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#socket.destroy();
  }
}
