import { lookup } from "node:dns/promises";
import { getLogger } from "@logtape/logtape";
import {
  type AddressPort,
  formatAddressPort,
  formatIp,
  type IpAddress,
  parseIp,
} from "../../base/address.ts";
import { backoffDelay } from "../../base/backoff.ts";
import { Endpoint } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import type { UdpCandidate } from "../../protocol/ice/candidates.ts";
import { specialRange } from "../../protocol/turn/special_addresses.ts";
import type { TurnUri } from "../../protocol/turn/turn_uri.ts";
import { openTurnCarrier, type TurnCarrier } from "../turn_carrier.ts";
import type { Way } from "./path_session.ts";
import type { RelayCredentials } from "./relay_access.ts";
import { RelayAllocation } from "./relay_allocation.ts";
import type { DatagramHandler, WireSocket } from "./wire_socket.ts";

const log = getLogger(["cairn", "path"]);

/** A TURN server that this node may use. */
export interface RelayServer {
  readonly uri: TurnUri;
  /** What lets this node in, asked each time that it is needed. */
  readonly credentials: () => RelayCredentials;
  /** Over TLS: certificate authorities (PEM) in place of the system's. */
  readonly caCerts?: readonly string[];
}

export interface RelayKeeperOptions {
  readonly server: RelayServer;
  readonly credentials: () => RelayCredentials;
  readonly host: Host;
  /** The node's own sockets, which a relay over UDP is reached through. */
  readonly wires: readonly WireSocket[];
  /** A STUN message that came through the relay, from a source that nobody knows yet. */
  readonly onStun: (bytes: Uint8Array, source: AddressPort, way: Way) => void;
  readonly onWay: (way: Way) => void;
  readonly onWayGone: () => void;
  /** The addresses known by this relay are others than before. */
  readonly onCandidates: () => void;
}

/** Keeps an allocation at one TURN server, and makes another one when it ends, until closed. */
export class RelayKeeper {
  readonly #options: RelayKeeperOptions;
  readonly #routes = new Map<string, DatagramHandler>();
  /** Where the latest datagram came from and went to. */
  #latest: { readonly peer: AddressPort; readonly handler: DatagramHandler } | undefined;
  readonly #done: Promise<void>;
  readonly #closing = Promise.withResolvers<void>();
  #allocation: RelayAllocation | undefined;
  #mapped: AddressPort | undefined;
  #relayed: AddressPort | undefined;
  #currentWay: Way | undefined;
  #isOpen = true;
  /** Why there is no allocation, once an attempt has failed. */
  failure: string | undefined;

  /** What tells one relay from another. */
  static nameOf({ uri: { transport, host, port } }: RelayServer): string {
    return `${transport} ${host} ${port}`;
  }

  constructor(options: RelayKeeperOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get name(): string {
    return RelayKeeper.nameOf(this.#options.server);
  }

  get candidates(): UdpCandidate[] {
    const candidates: UdpCandidate[] = [];
    // Only over UDP is it the address of the socket that peers are to reach.
    if (this.#mapped && this.#options.server.uri.transport === "udp") {
      candidates.push({ type: "srflx", address: this.#mapped });
    }
    if (this.#relayed) candidates.push({ type: "relay", address: this.#relayed });
    return candidates;
  }

  recheck(): void {
    this.#allocation?.recheck();
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#closing.resolve();
    await this.#done;
  }

  async #run(): Promise<void> {
    for (let attempt = 0; this.#isOpen; attempt++) {
      const lasted = await this.#allocate().catch((error: unknown) => {
        this.failure = error instanceof Error ? error.message : String(error);
        return false;
      });
      if (lasted) attempt = 0;
      if (!this.#isOpen) return;
      log.debug("No allocation at {host}: {failure}", {
        host: this.#options.server.uri.host,
        failure: this.failure,
      });
      await this.#pause(backoffDelay(attempt, this.#options.host.random(1)[0]! / 256));
    }
  }

  /** Returns when the allocation has ended, with whether there was one. */
  async #allocate(): Promise<boolean> {
    const { server: { uri }, credentials, host, onCandidates } = this.#options;
    const { username, password } = credentials();
    const carrier = await this.#open();
    if (!this.#isOpen) {
      carrier.close();
      return false;
    }
    const ended = Promise.withResolvers<void>();
    let lasted = false;
    const allocation = new RelayAllocation({
      carrier,
      transport: uri.transport === "udp" ? "datagram" : "stream",
      username,
      password,
      host,
      events: {
        onMapped: (address) => {
          const isNew = !this.#mapped ||
            formatAddressPort(address) !== formatAddressPort(this.#mapped);
          this.#mapped = address;
          if (isNew) onCandidates();
        },
        onAllocated: (relayed) => {
          lasted = true;
          this.failure = undefined;
          this.#relayed = relayed;
          this.#options.onWay(this.#way(allocation, relayed));
          onCandidates();
        },
        onDatagram: (peer, buffer, offset, length) => this.#take(peer, buffer, offset, length),
        onEnd: (reason) => {
          this.failure = reason;
          ended.resolve();
        },
      },
    });
    this.#allocation = allocation;
    await Promise.race([ended.promise, this.#closing.promise]);
    this.#allocation = undefined;
    this.#relayed = undefined;
    this.#currentWay = undefined;
    this.#routes.clear();
    this.#latest = undefined;
    if (lasted) this.#options.onWayGone();
    await allocation.close();
    return lasted;
  }

  async #open(): Promise<TurnCarrier> {
    const { uri, caCerts } = this.#options.server;
    const literal = parseIp(uri.host);
    const address = literal ? formatIp(literal) : (await lookup(uri.host)).address;
    if (uri.transport !== "udp") {
      return await openTurnCarrier({
        transport: uri.transport,
        address,
        port: uri.port,
        serverName: uri.host,
        ...(caCerts && { caCerts }),
      });
    }
    const ip = parseIp(address);
    const wire = this.#options.wires.find(({ family }) => family === (ip?.length === 4 ? 4 : 6));
    if (!ip || !wire) throw new Error(`${address} cannot be reached from here`);
    return sharedCarrier(wire, { address: ip, port: uri.port });
  }

  #way(allocation: RelayAllocation, relayed: AddressPort): Way {
    const family = relayed.address.length === 4 ? 4 : 6;
    return this.#currentWay = {
      base: { id: this.name, type: "relay", family, reaches: reachedFrom(relayed.address) },
      toward: (to) => allocation.toward(to),
      route: (source, handler) => {
        const key = formatAddressPort(source);
        this.#routes.set(key, handler);
        this.#latest = undefined;
        return () => {
          this.#latest = undefined;
          if (this.#routes.get(key) === handler) this.#routes.delete(key);
          const prefix = key.slice(0, key.lastIndexOf(":") + 1);
          const isShared = this.#routes.keys().some((other) => other.startsWith(prefix));
          if (!isShared) allocation.forget(source);
        };
      },
      prefer: (to) => allocation.bindChannel(to),
      recheck: () => allocation.recheck(),
    };
  }

  #take(
    peer: AddressPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): Promise<unknown> | void {
    // The peer of a channel is the same object each time: much comes on one in a row.
    const handler = this.#latest?.peer === peer
      ? this.#latest.handler
      : this.#routes.get(formatAddressPort(peer));
    if (handler) {
      this.#latest = { peer, handler };
      return handler(buffer, offset, length);
    }
    const way = this.#currentWay;
    if (way) this.#options.onStun(buffer.subarray(offset, offset + length), peer, way);
  }

  async #pause(milliseconds: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, milliseconds);
    await Promise.race([late.promise, this.#closing.promise]);
    clearTimeout(timer);
  }
}

/**
 * A relay on the internet is not asked to send to addresses of private networks: it refuses, or
 * reaches somebody else's, and need not know how the peer's network is numbered.
 */
function reachedFrom(relayed: IpAddress): (address: IpAddress) => boolean {
  const isGlobal = (address: IpAddress) => specialRange(address).reach === "global";
  return isGlobal(relayed) ? isGlobal : () => true;
}

/** The way to a TURN server over a socket that is not its alone. */
export function sharedCarrier(wire: WireSocket, server: AddressPort): TurnCarrier {
  const to = new Endpoint(server.address, server.port);
  const ended = Promise.withResolvers<void>();
  let end: () => void = () => {};
  return {
    async send(bytes) {
      await wire.send(bytes, 0, bytes.length, to);
    },
    forward: (buffer, offset, length) => wire.send(buffer, offset, length, to),
    async read(receive) {
      end = wire.route(server, receive);
      await ended.promise;
    },
    close() {
      end();
      ended.resolve();
    },
  };
}
