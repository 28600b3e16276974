import { parseIp } from "../../src/base/address.ts";
import { Endpoint } from "../../src/base/endpoint.ts";
import type { DatagramSocket } from "../../src/roles/relay/datagram_sockets.ts";
import { BatchKernel } from "../../src/roles/relay/udp_batch/batch_kernel.ts";
import { BatchDatagramSockets } from "../../src/roles/relay/udp_batch/batch_sockets.ts";

const LOOPBACK = parseIp("127.0.0.1")!;

/** What passed on its way to the client. */
export interface Seen {
  readonly bytes: Uint8Array;
  /** DSCP and ECN. */
  readonly trafficClass: number;
}

/**
 * Stands between one client and a relay, or is a peer: sends with DSCP and ECN of the test's
 * choice, and sees those of what comes.
 */
export class MarkingProxy implements AsyncDisposable {
  /** DSCP and ECN of what it sends towards the relay. */
  trafficClass = 0;
  readonly #sockets = new BatchDatagramSockets(BatchKernel.load());
  readonly #front: DatagramSocket;
  readonly #back: DatagramSocket;
  readonly #seen: Seen[] = [];
  #waiting: (() => void) | undefined;
  #client: Endpoint | undefined;

  /** `relayPort` is where the client's datagrams go on to. */
  constructor(relayPort: number) {
    const relay = new Endpoint(LOOPBACK, relayPort);
    const shared = { hostname: "127.0.0.1", port: 0, inFlight: 1, kernelBuffer: 1_048_576 };
    const ends = { onDrop: () => {}, onLost: () => {} };
    this.#front = this.#sockets.open({
      ...shared,
      ...ends,
      onDatagram: (buffer, offset, length, from) => {
        this.#client = from.toEndpoint();
        this.#sockets.trafficClass = this.trafficClass;
        this.#back.send(buffer, offset, length, relay);
      },
    });
    this.#back = this.#sockets.open({
      ...shared,
      ...ends,
      onDatagram: (buffer, offset, length) => {
        const { trafficClass } = this.#sockets;
        this.#seen.push({ bytes: buffer.slice(offset, offset + length), trafficClass });
        this.#waiting?.();
        if (this.#client !== undefined) this.#front.send(buffer, offset, length, this.#client);
      },
    });
  }

  /** Where the client is to send. */
  get port(): number {
    return this.#front.port;
  }

  /** Where the relay, or a peer, sees datagrams come from. */
  get backPort(): number {
    return this.#back.port;
  }

  /** What came from the relay that `isWanted`. */
  async seen(isWanted: (seen: Seen) => boolean): Promise<Seen> {
    for (;;) {
      const found = this.#seen.find(isWanted);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sockets[Symbol.asyncDispose]();
  }
}
