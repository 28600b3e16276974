import type { Endpoint } from "../../base/endpoint.ts";
import { AddressTable } from "../../protocol/turn/address_table.ts";
import type { Allocation } from "../../protocol/turn/allocation.ts";
import type { Client } from "../../protocol/turn/client.ts";
import { formatListenAddress, type ListenAddress, listenError } from "../http.ts";
import { addressesToListen, type MachineAddresses } from "./relay_addresses.ts";
import type { DatagramSocket, DatagramSockets, DatagramSource } from "./datagram_sockets.ts";
import type { TurnDriver } from "./turn_driver.ts";

/** Datagrams of a listening socket that may be on their way through this process at a time. */
const IN_FLIGHT = 4;
/** For the datagrams of all clients, while this process is held up. */
const KERNEL_BUFFER = 8_388_608;
/** Clients without an allocation that may lie around before they are looked for. */
const SPARE_CLIENTS = 64;

class UdpClient implements Client {
  readonly transport = "udp";
  readonly endpoint: Endpoint;
  allocation: Allocation | undefined = undefined;
  readonly #socket: DatagramSocket;

  constructor(socket: DatagramSocket, endpoint: Endpoint) {
    this.#socket = socket;
    this.endpoint = endpoint;
  }

  send(buffer: Uint8Array, offset: number, length: number): void | Promise<unknown> {
    return this.#socket.send(buffer, offset, length, this.endpoint);
  }
}

/** A socket that is bound to an address already. */
export interface BoundSocket {
  readonly hostname: string;
  readonly port: number;
  readonly descriptor: number;
}

/** Serves the clients of sockets that are bound already. */
export function serveUdp(
  bound: readonly BoundSocket[],
  options: Pick<UdpListenOptions, "sockets" | "driver" | "onLost">,
): Disposable {
  const listeners = bound.map((socket) =>
    new UdpListener({ ...options, ...socket, bound: socket.descriptor })
  );
  return {
    [Symbol.dispose]() {
      for (const listener of listeners) listener.close();
    },
  };
}

/** What listens over UDP. */
export interface UdpListeners {
  readonly port: number;
  /** Each address with the port, as text. */
  readonly addresses: readonly string[];
  close(): void;
}

export interface UdpListenOptions extends ListenAddress {
  readonly machine: MachineAddresses;
  readonly sockets: DatagramSockets;
  readonly driver: TurnDriver;
  readonly onLost: (error: unknown) => void;
}

/**
 * Listens on an address, or for a wildcard on every address of the machine.
 *
 * @throws {CairnError} when one of them cannot be listened on.
 */
export function listenUdp(options: UdpListenOptions): UdpListeners {
  const hostnames = addressesToListen(options.host, options.machine);
  const listeners: UdpListener[] = [];
  let { port } = options;
  try {
    for (const hostname of hostnames) {
      const listener = new UdpListener({ ...options, hostname, port });
      listeners.push(listener);
      port = listener.port;
    }
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw listenFailure(error, { host: options.host, port });
  }
  return {
    port,
    addresses: hostnames.map((host) => formatListenAddress({ host, port })),
    close() {
      for (const listener of listeners) listener.close();
    },
  };
}

/** The system's errors in the words that are used for every listening address. */
export function listenFailure(error: unknown, address: ListenAddress): unknown {
  if (!(error instanceof Error)) return error;
  const code = error instanceof Deno.errors.AddrInUse
    ? "EADDRINUSE"
    : error instanceof Deno.errors.PermissionDenied
    ? "EACCES"
    : undefined;
  const option = "--listen-addr (CAIRN_RELAY_LISTEN_ADDR)";
  return listenError(Object.assign(error, code && { code }), { ...address, option });
}

/** One address on which clients are listened to over UDP. Of those without allocation none is kept. */
class UdpListener {
  readonly port: number;
  readonly #driver: TurnDriver;
  readonly #socket: DatagramSocket;
  readonly #clients = new AddressTable<UdpClient>("address and port");
  /** How many clients were kept when those without allocation were last forgotten. */
  #lastKept = 0;

  /** @throws whatever the system says when the address cannot be used. */
  constructor(options: {
    readonly hostname: string;
    readonly port: number;
    readonly bound?: number;
    readonly sockets: DatagramSockets;
    readonly driver: TurnDriver;
    readonly onLost: (error: unknown) => void;
  }) {
    const { hostname, port, bound, sockets, driver, onLost } = options;
    this.#driver = driver;
    this.#socket = sockets.open({
      hostname,
      port,
      bound,
      inFlight: IN_FLIGHT,
      kernelBuffer: KERNEL_BUFFER,
      onDatagram: (buffer, offset, length, from) => this.#receive(buffer, offset, length, from),
      onDrop: () => driver.server.counters.droppedBackpressure++,
      onLost,
    });
    this.port = this.#socket.port;
  }

  close(): void {
    this.#socket.close();
  }

  #receive(
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: DatagramSource,
  ): void | Promise<unknown> {
    const known = this.#clients.find(from);
    if (known !== undefined) return this.#driver.fromClient(known, buffer, offset, length);
    const client = new UdpClient(this.#socket, from.toEndpoint());
    const sent = this.#driver.fromClient(client, buffer, offset, length);
    if (client.allocation !== undefined) this.#keep(client);
    return sent;
  }

  #keep(client: UdpClient): void {
    this.#clients.set(client);
    if (this.#clients.size < 2 * this.#lastKept + SPARE_CLIENTS) return;
    this.#clients.retain(({ allocation }) => allocation !== undefined);
    this.#lastKept = this.#clients.size;
  }
}
