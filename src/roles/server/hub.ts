import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import type { RelayStats } from "../../protocol/hub/relay_exchange.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { Host } from "../../base/host.ts";
import type { RelayCount } from "./api/managed_server.ts";
import { PersonalRelay } from "./personal_relay.ts";
import { Roster, type RosterOptions } from "./roster.ts";
import type { ServerOptions } from "./server_options.ts";

const CAPACITY = 100;

/** The halves that `options` do not switch off. */
export function openHub(
  options: Pick<ServerOptions, "roster" | "relayCapacity" | "relayPeerRate"> & { host: Host },
  told: RosterOptions,
): Hub {
  const { roster = true, relayCapacity: capacity = CAPACITY, host } = options;
  const limits = { capacity, bytesPerSecond: options.relayPeerRate };
  return new Hub(
    roster ? new Roster(told) : undefined,
    capacity > 0 ? new PersonalRelay(limits, host) : undefined,
  );
}

/** What a server does for peers that are online at the same time; either half may be off. */
export class Hub {
  constructor(
    private readonly roster: Roster | undefined,
    private readonly relay: PersonalRelay | undefined,
  ) {}

  /** What the server's links declare. */
  get capabilities(): string[] {
    return [...(this.roster ? ["roster"] : []), ...(this.relay ? ["relay"] : [])];
  }

  linkUp(link: LinkConnection): void {
    this.roster?.linkUp(link);
    this.relay?.linkUp(link);
  }

  linkDown(link: LinkConnection): void {
    this.roster?.linkDown(link);
    this.relay?.linkDown(link);
  }

  /**
   * Takes what is for the hub; false for any other message.
   *
   * @throws {ProtocolError} when the peer breaks the protocol.
   */
  receive(link: LinkConnection, envelope: Envelope): boolean {
    return this.relay?.receive(link, envelope) ?? false;
  }

  /** A peer was paired, unpaired or renamed. */
  peerChanged(peer: PeerId, isPaired: boolean): void {
    this.roster?.changed(peer);
    if (!isPaired) this.relay?.forget(peer);
  }

  /** The numbers of the personal relay; `undefined` when it is off. */
  relayStats(): RelayStats | undefined {
    return this.relay?.stats();
  }

  /** The same as the management counts it: a relay that is off has room for nobody. */
  relayCount(): RelayCount {
    return {
      capacity: this.relay?.stats().capacity ?? 0,
      active: () => this.relay?.stats().activePairs ?? 0,
      bytesRelayed: () => this.relay?.stats().bytesRelayed ?? 0,
      perPeer: () =>
        (this.relay?.stats().peers ?? []).map((peer) => ({
          peerId: peer.peerId,
          bytesRelayed: peer.bytesSent + peer.bytesReceived,
          activeStreams: peer.activeLinks,
        })),
    };
  }

  close(): void {
    this.roster?.close();
    this.relay?.close();
  }
}
