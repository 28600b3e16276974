import { getLogger } from "@logtape/logtape";
import type { ManagedServer } from "./api/managed_server.ts";
import { type History, HISTORY_STEPS } from "./history.ts";

const log = getLogger(["cairn", "server"]);

/** Reads a server's numbers into its history, at once and then every ten seconds. */
export class HistoryClock implements AsyncDisposable {
  readonly #server: ManagedServer;
  readonly #history: History;
  readonly #timer: ReturnType<typeof setInterval>;
  #relayed: number;
  #reading: Promise<void>;

  constructor(server: ManagedServer, history: History) {
    this.#server = server;
    this.#history = history;
    this.#relayed = server.relay.bytesRelayed();
    this.#reading = this.#read();
    this.#timer = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#read());
    }, HISTORY_STEPS.hour);
  }

  async #read(): Promise<void> {
    const { host, book, accounts, relay } = this.#server;
    try {
      const freeBytes = await this.#server.freeBytes();
      const totals = accounts?.totals() ?? { messages: 0, bytes: 0 };
      const relayed = relay.bytesRelayed();
      this.#history.add({
        at: host.now(),
        connectedPeers: book.list().filter(({ peerId }) => this.#server.isConnected(peerId)).length,
        waitingMessages: totals.messages,
        storedBytes: totals.bytes,
        relayPairs: relay.active(),
        freeBytes,
        relayedBytes: relayed - this.#relayed,
      });
      this.#relayed = relayed;
    } catch (error) {
      log.warn("The history lacks a sample: {error}", { error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
  }
}
