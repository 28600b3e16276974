import { getLogger } from "@logtape/logtape";
import { type AddressPort, formatIp } from "../../base/address.ts";
import { type AddressFamily, Endpoint } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import {
  type CandidateText,
  formatCandidate,
  type UdpCandidate,
} from "../../protocol/ice/candidates.ts";
import { decodeStunMessage, type StunMessage } from "../../protocol/stun/message.ts";
import type { DatagramSockets } from "../relay/datagram_sockets.ts";
import { hostAddresses, withPort } from "./host_addresses.ts";
import type { Way } from "./path_session.ts";
import { RelayKeeper, type RelayServer } from "./relay_keeper.ts";
import { WireSocket } from "./wire_socket.ts";

const log = getLogger(["cairn", "path"]);

const MAX_CANDIDATES = 16;
const MAX_RELAYS = 8;
/** Milliseconds between two looks at the interfaces. */
const WATCH_INTERVAL = 3_000;

export interface NodeWaysOptions {
  readonly host: Host;
  readonly sockets: DatagramSockets;
  readonly relays: readonly RelayServer[];
  /** The addresses of this machine's interfaces. */
  readonly interfaces: () => readonly Deno.NetworkInterfaceInfo[];
}

/** What happens on the ways of a node. */
export interface WayEvents {
  /** A STUN message of a source that no session has claimed. */
  readonly onStun: (message: StunMessage, source: AddressPort, way: Way) => void;
  readonly onWay: (way: Way) => void;
  readonly onWayGone: (id: string) => void;
  /** This node's addresses are others than before. */
  readonly onCandidates: (candidates: readonly CandidateText[]) => void;
  /**
   * The machine's own addresses have changed: what went out before may not any more. `isLost` tells
   * that one of them is gone, with every connection from it.
   */
  readonly onNetworkChange: (isLost: boolean) => void;
}

/**
 * The ways out of a node: a UDP socket for each address family, always, and allocations at relays
 * while they are wanted.
 */
export class NodeWays {
  readonly #options: NodeWaysOptions;
  readonly #events: WayEvents;
  readonly #wires: WireSocket[] = [];
  readonly #ways = new Map<string, Way>();
  readonly #relays = new Map<string, RelayServer>();
  readonly #keepers = new Map<string, RelayKeeper>();
  readonly #watch: ReturnType<typeof setInterval>;
  #isAwake = false;
  #addresses: Set<string>;

  constructor(options: NodeWaysOptions, events: WayEvents) {
    this.#options = options;
    this.#events = events;
    for (const server of options.relays) this.addRelay(server);
    this.#addresses = this.#hostAddresses();
    this.#watch = setInterval(() => this.#look(), WATCH_INTERVAL);
    for (const family of [4, 6] as const) {
      if (hostAddresses(options.interfaces(), family).length === 0) continue;
      try {
        this.#addWire(family);
      } catch (error) {
        log.warn("No datagrams over IPv{family}: {error}", { family, error });
      }
    }
  }

  [Symbol.iterator](): Iterator<Way> {
    return this.#ways.values();
  }

  /** What is known by now of the addresses at which this node may be reached. */
  get candidates(): CandidateText[] {
    const interfaces = this.#options.interfaces();
    const host = this.#wires.flatMap(({ family, port }) =>
      withPort(hostAddresses(interfaces, family), port)
        .map((address): UdpCandidate => ({ type: "host", address }))
    );
    const known = [...this.#keepers.values()].flatMap(({ candidates }) => candidates);
    const texts = [...known, ...host].map(formatCandidate);
    // An address that is seen from outside as it is needs to be said once.
    const byAddress = new Map(texts.map((text) => [text.value, text]));
    return [...byAddress.values()].slice(0, MAX_CANDIDATES);
  }

  /** What is known of relays, those of peers included. */
  get relays(): RelayServer[] {
    return [...this.#relays.values()];
  }

  /** Why relays are not in use, by their URI; empty when all are. */
  get failures(): string[] {
    return [...this.#keepers.values()].flatMap(({ name, failure }) =>
      failure === undefined ? [] : [`${name}: ${failure}`]
    );
  }

  /** Uses a further relay, or one with other credentials from now on. Of more than eight, eight. */
  addRelay(server: RelayServer): void {
    const name = RelayKeeper.nameOf(server);
    if (!this.#relays.has(name) && this.#relays.size >= MAX_RELAYS) return;
    this.#relays.set(name, server);
    if (this.#isAwake) this.#keep(server);
  }

  /** Gets allocations, and keeps them until {@linkcode rest}. */
  wake(): void {
    this.#isAwake = true;
    for (const server of this.#relays.values()) this.#keep(server);
  }

  /** Gives the allocations back. */
  async rest(): Promise<void> {
    this.#isAwake = false;
    const keepers = [...this.#keepers.values()];
    this.#keepers.clear();
    await Promise.all(keepers.map((keeper) => keeper.close()));
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    await this.rest();
    for (const wire of this.#wires) wire.close();
  }

  #addWire(family: AddressFamily): void {
    const wire = new WireSocket(family, this.#options.sockets, (message, source) => {
      this.#events.onStun(message, source, way);
    });
    const way: Way = {
      base: { id: `udp${family}`, type: "host", family },
      toward: (to) => {
        const endpoint = new Endpoint(to.address, to.port);
        return (buffer, offset, length) => wire.send(buffer, offset, length, endpoint);
      },
      route: (source, handler) => wire.route(source, handler),
      prefer: () => {},
      // Where it is silent, relays may see this node at another address.
      recheck: () => {
        for (const keeper of this.#keepers.values()) keeper.recheck();
      },
    };
    this.#wires.push(wire);
    this.#ways.set(way.base.id, way);
  }

  #keep(server: RelayServer): void {
    const name = RelayKeeper.nameOf(server);
    if (this.#keepers.has(name)) return;
    const keeper = new RelayKeeper({
      server,
      credentials: () => (this.#relays.get(name) ?? server).credentials(),
      host: this.#options.host,
      wires: this.#wires,
      onStun: (bytes, source, way) => {
        const message = decodeStunMessage(bytes);
        if (message) this.#events.onStun(message, source, way);
      },
      onWay: (way) => {
        this.#ways.set(name, way);
        this.#events.onWay(way);
      },
      onWayGone: () => {
        this.#ways.delete(name);
        this.#events.onWayGone(name);
      },
      onCandidates: () => this.#events.onCandidates(this.candidates),
    });
    this.#keepers.set(name, keeper);
  }

  #look(): void {
    const before = this.#addresses;
    const now = this.#addresses = this.#hostAddresses();
    if (before.symmetricDifference(now).size === 0) return;
    log.info("The addresses of this machine have changed");
    for (const keeper of this.#keepers.values()) keeper.recheck();
    this.#events.onNetworkChange(before.difference(now).size > 0);
    this.#events.onCandidates(this.candidates);
  }

  /** Those that matter to others: programs of this machine make and remove others all the time. */
  #hostAddresses(): Set<string> {
    const interfaces = this.#options.interfaces();
    return new Set(
      ([4, 6] as const).flatMap((family) => hostAddresses(interfaces, family).map(formatIp)),
    );
  }
}
