import type { RelayPort } from "../../../protocol/turn/relay_port.ts";
import type { SocketShelf } from "../turn_driver.ts";
import type { BatchDatagramSockets } from "../udp_batch/batch_sockets.ts";
import type { Ledger } from "./ledger.ts";

/** Keeps the sockets of reserved ports where every thread finds them: they belong to the process. */
export class SharedShelf implements SocketShelf {
  readonly #ledger: Ledger;
  readonly #sockets: BatchDatagramSockets;

  constructor(ledger: Ledger, sockets: BatchDatagramSockets) {
    this.#ledger = ledger;
    this.#sockets = sockets;
  }

  put({ family, endpoint }: RelayPort, descriptor: number): void {
    this.#ledger.ports(family).setAside(endpoint.port, descriptor);
  }

  take({ family, endpoint }: RelayPort): number | undefined {
    return this.#ledger.ports(family).takeAside(endpoint.port);
  }

  close(port: RelayPort): void {
    const descriptor = this.take(port);
    if (descriptor !== undefined) this.#sockets.closeDescriptor(descriptor);
  }
}
