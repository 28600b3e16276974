import { connect, type Socket } from "node:net";
import { getLogger } from "@logtape/logtape";
import type { ListenAddress } from "./http.ts";

const log = getLogger(["cairn", "listen"]);

const LOOPBACKS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
/** Milliseconds that clients wait at most for our own connection, which comes from this machine. */
const CONNECT_PATIENCE = 250;
/** Milliseconds, at most, after which our own connection should have been accepted. */
const ACCEPT_PATIENCE = 5_000;
/** The same, for each of several that are tried one after another. */
const SHARED_PATIENCE = 1_000;
/** Of our own connections among other listeners so many, one after another, are to come here. */
const MOST_TRIES = 512;
/** So many of them that are accepted nowhere, or cannot be made, are enough to know. */
const ENOUGH = 8;
/** What no protocol begins with: who accepts it hangs up. */
const NONSENSE = "\0\r\n\r\n";

export interface AcceptWatchOptions {
  /** Milliseconds of silence after which the listener is tried. */
  readonly interval: number;
  /** Listens anew. */
  readonly listenAgain: (address: ListenAddress) => Promise<unknown>;
  /** Other listeners share the address, and the system chooses one for each connection. */
  readonly isShared?: boolean | undefined;
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
  /** Whose other end may yet be accepted, be they closed: those of an interval at most. */
  readonly #probes = new Set<Probe>();
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
    const connecting = [...this.#probes].filter(({ isConnecting }) => isConnecting);
    if (connecting.length === 0) return this.#sort(connection, take);
    void Promise.all(connecting.map(({ settled }) => settled))
      .then(() => this.#sort(connection, take));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const probe of this.#probes) probe.close();
  }

  #sort(connection: Socket, take: (connection: Socket) => void): void {
    const own = [...this.#probes].find((probe) => probe.isOtherEndOf(connection));
    if (own) {
      this.#probes.delete(own);
      this.#getsThrough = true;
      own.close();
      this.#endProbes();
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
      // Their ports may be those of clients some time.
      for (const probe of this.#probes) probe.close();
      this.#probes.clear();
      const mustTry = isFirst || !this.#hasAccepted;
      isFirst = false;
      isDeaf ||= mustTry && await this.#isDeaf(address);
      if (isDeaf) isDeaf = !await this.#revive(address);
      this.#hasAccepted = false;
    }
  }

  async #isDeaf(address: ListenAddress): Promise<boolean> {
    this.#hasAccepted = false;
    const isWaiting = this.#options.isShared
      ? await this.#isDeafAmongOthers(address)
      : await this.#isDeafAlone(address);
    this.#endProbes();
    return isWaiting;
  }

  async #isDeafAlone(address: ListenAddress): Promise<boolean> {
    const probe = this.#begin(address, "");
    const patience = Math.min(this.#options.interval, ACCEPT_PATIENCE);
    let isWaiting = true;
    // Twice, for a process that was busy looks first and accepts then.
    for (let look = 0; look < 2 && isWaiting; look++) {
      await this.#pass(patience);
      isWaiting = !this.#hasAccepted && probe.waits(this.#getsThrough);
    }
    return isWaiting;
  }

  /**
   * Connections that come to another listener end at once, those that come to a deaf one wait, be it
   * this or another. One that comes here proves that this one is not; when there is none, it is.
   */
  async #isDeafAmongOthers(address: ListenAddress): Promise<boolean> {
    const patience = Math.min(this.#options.interval, SHARED_PATIENCE);
    let waiting = 0;
    let failed = 0;
    for (let tries = 0; tries < MOST_TRIES && waiting < ENOUGH && failed < ENOUGH; tries++) {
      const probe = this.#begin(address, NONSENSE);
      await this.#pass(patience, probe.ended);
      if (this.#hasAccepted || this.#isClosed) return false;
      if (probe.waits(this.#getsThrough)) waiting++;
      else {
        if (!probe.hasConnected) failed++;
        this.#probes.delete(probe);
        probe.close();
      }
    }
    if (waiting > 0) await this.#pass(patience);
    return waiting > 0 && !this.#hasAccepted;
  }

  #begin(address: ListenAddress, greeting: string): Probe {
    const probe = new Probe(address, greeting);
    this.#probes.add(probe);
    return probe;
  }

  /** Ends `sooner` if that is given. Never resolves by itself once the watch is closed. */
  #pass(milliseconds: number, sooner?: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#timer = setTimeout(resolve, milliseconds);
      void sooner?.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #endProbes(): void {
    for (const probe of this.#probes) probe.leave();
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

/** A connection of our own. */
class Probe {
  /** Resolves when the probe is known to its listener, or is not going to be. */
  readonly settled: Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  isConnecting = true;
  hasConnected = false;
  #end: { readonly address: string | undefined; readonly port: number | undefined } | undefined;
  readonly #socket: Socket;
  readonly #timer: ReturnType<typeof setTimeout>;

  /** Whoever accepts it is told `greeting`. */
  constructor({ host, port }: ListenAddress, greeting: string) {
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
    this.#socket.on("connect", () => {
      this.hasConnected = true;
      this.#end = { address: this.#socket.localAddress, port: this.#socket.localPort };
    });
    this.ended = new Promise((resolve) => this.#socket.on("close", () => resolve()));
    // Else the end of the other side would not be seen.
    this.#socket.resume();
    if (greeting !== "") this.#socket.write(greeting);
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
    const { address, port } = this.#end ?? {};
    return port !== undefined && remotePort === port && remoteAddress === address;
  }

  /** Ends when it is known where it comes from: its other end may have been accepted already. */
  leave(): void {
    if (this.#socket.connecting) this.#socket.on("connect", () => this.close());
    else this.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#socket.destroy();
  }
}
