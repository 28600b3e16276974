/**
 * The path of a relayed packet, both ways (RFC 8656 sections 11 and 12): no object, closure or view
 * is made on it, and a packet's data stays where it lies.
 */

import { readU16 } from "../../base/bytes.ts";
import type { AddressWords, Endpoint } from "../../base/endpoint.ts";
import {
  CHANNEL_HEADER_LENGTH,
  channelDataLength,
  padChannelData,
  writeChannelHeader,
} from "../stun/channel_data.ts";
import { padded } from "../stun/message.ts";
import type { Allocation } from "./allocation.ts";
import type { Client, RelaySocket } from "./client.ts";
import type { Counters } from "./counters.ts";
import { DataIndications } from "./data_indication.ts";
import type { PeerPolicy } from "./peer_policy.ts";
import type { Peer, Permission, RelayPort } from "./relay_port.ts";
import type { RelayPorts } from "./relay_ports.ts";
import { SendIndication } from "./send_indication.ts";

/** Free bytes that the machine needs in front of a datagram: a Data indication up to its data. */
export const HEADROOM = 48;
/** Free bytes that it needs behind a datagram, for padding. */
export const TAILROOM = 3;

/**
 * What to send at once, in the buffer of the packet that came in: to a client, or from a relay
 * socket to a peer. There is one object for all packets.
 */
export class Delivery {
  offset = 0;
  length = 0;
  /** Set when it goes to a client. */
  client: Client | undefined;
  /** Set when it goes to a peer, with {@linkcode peer}. */
  socket: RelaySocket | undefined;
  peer: Endpoint | undefined;
  /** To a peer: the client asked for datagrams that are not fragmented. */
  dontFragment = false;
}

export class DataRelay {
  readonly #ports: RelayPorts;
  readonly #counters: Counters;
  readonly #delivery = new Delivery();
  readonly #indication = new SendIndication();
  readonly #indications: DataIndications;
  policy: Pick<PeerPolicy, "judge">;
  /** `idSeed` is 8 random bytes. */
  constructor(
    ports: RelayPorts,
    counters: Counters,
    policy: Pick<PeerPolicy, "judge">,
    idSeed: Uint8Array,
  ) {
    this.#ports = ports;
    this.#counters = counters;
    this.policy = policy;
    this.#indications = new DataIndications(idSeed);
  }

  /** A ChannelData message of a client. */
  fromChannel(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: number,
  ): Delivery | undefined {
    const dataLength = channelDataLength(buffer, offset, length);
    if (dataLength < 0) {
      this.#counters.droppedMalformed++;
      return undefined;
    }
    const { allocation } = client;
    const channel = allocation?.channels.get(readU16(buffer, offset));
    // The channel is all that section 12.6 demands: a permission that has lapsed stops answers only.
    if (allocation === undefined || channel === undefined || channel.expiresAt <= now) {
      this.#counters.droppedNoChannel++;
      return undefined;
    }
    const { port, peer } = channel;
    const dataOffset = offset + CHANNEL_HEADER_LENGTH;
    return this.#toPeer(allocation, port, peer, buffer, dataOffset, dataLength, false, now);
  }

  /** A Send indication of a client. */
  fromSend(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: number,
  ): Delivery | undefined {
    const { allocation } = client;
    const indication = this.#indication;
    if (!indication.read(buffer, offset, length)) {
      this.#counters.droppedMalformed++;
      return undefined;
    }
    const port = indication.family === 4 ? allocation?.v4 : allocation?.v6;
    if (allocation === undefined || port === undefined) {
      this.#counters.droppedNoAllocation++;
      return undefined;
    }
    const known = port.peer(indication);
    const permission = known?.permission ?? port.permission(indication);
    if (permission === undefined || permission.expiresAt <= now) {
      this.#counters.droppedNoPermission++;
      return undefined;
    }
    const peer = known ?? this.#meet(port, permission);
    if (peer === undefined) {
      this.#counters.droppedForbidden++;
      return undefined;
    }
    const { dataOffset, dataLength, dontFragment } = indication;
    return this.#toPeer(allocation, port, peer, buffer, dataOffset, dataLength, dontFragment, now);
  }

  /** A datagram that came to a relayed address. */
  fromPeer(
    port: RelayPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: AddressWords,
    now: number,
  ): Delivery | undefined {
    const counters = this.#counters;
    const { allocation } = port;
    if (allocation === undefined) {
      counters.droppedNoAllocation++;
      return undefined;
    }
    const peer = port.peer(from);
    const permission = peer === undefined ? port.permission(from) : peer.permission;
    if (permission === undefined || permission.expiresAt <= now) {
      counters.droppedNoPermission++;
      return undefined;
    }
    const { user, client } = allocation;
    if (user.toClients !== undefined && !user.toClients.take(now, length)) {
      counters.droppedBandwidth++;
      return undefined;
    }
    const channel = peer?.channel;
    const fits = channel !== undefined && channel.expiresAt > now
      ? this.#writeChannelData(buffer, offset, length, channel.number, client)
      : this.#writeDataIndication(port, buffer, offset, length, from);
    if (!fits) {
      counters.droppedMalformed++;
      return undefined;
    }
    allocation.packetsToClient++;
    allocation.bytesToClient += length;
    counters.packetsToClients++;
    counters.bytesToClients += length;
    const delivery = this.#delivery;
    delivery.client = client;
    delivery.socket = undefined;
    delivery.peer = undefined;
    return delivery;
  }

  #toPeer(
    allocation: Allocation,
    port: RelayPort,
    peer: Peer,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
    now: number,
  ): Delivery | undefined {
    const counters = this.#counters;
    const { toPeers } = allocation.user;
    let to: Endpoint | undefined = peer.endpoint;
    if (toPeers !== undefined && !toPeers.take(now, length)) {
      counters.droppedBandwidth++;
      return undefined;
    }
    allocation.packetsToPeers++;
    allocation.bytesToPeers += length;
    counters.packetsToPeers++;
    counters.bytesToPeers += length;
    if (peer.isOwn) {
      const other = this.#ports.find(port.family, peer.endpoint.port);
      if (other !== undefined) {
        counters.packetsHairpinned++;
        return this.fromPeer(other, buffer, offset, length, port.endpoint, now);
      }
      to = this.#ports.elsewhere(port.family, peer.endpoint.port);
      if (to === undefined) {
        counters.droppedNoAllocation++;
        return undefined;
      }
      counters.packetsHairpinned++;
    }
    const delivery = this.#delivery;
    delivery.client = undefined;
    delivery.socket = port.socket;
    delivery.peer = to;
    delivery.offset = offset;
    delivery.length = length;
    delivery.dontFragment = dontFragment;
    return delivery;
  }

  /**
   * The peer of the indication at hand, remembered. A permission is for all ports, but of this
   * server's own address not all may be reached.
   */
  #meet(port: RelayPort, permission: Permission): Peer | undefined {
    const endpoint = this.#indication.endpoint();
    const verdict = this.policy.judge(endpoint.address, endpoint.port);
    if (verdict === "forbidden") return undefined;
    return port.remember(endpoint, permission, verdict === "own");
  }

  #writeChannelData(
    buffer: Uint8Array,
    offset: number,
    length: number,
    channel: number,
    client: Client,
  ): boolean {
    const start = offset - CHANNEL_HEADER_LENGTH;
    const total = CHANNEL_HEADER_LENGTH + length;
    writeChannelHeader(buffer, start, channel, length);
    this.#delivery.offset = start;
    this.#delivery.length = client.transport === "udp"
      ? total
      : padChannelData(buffer, start, total);
    return length <= 0xffff;
  }

  #writeDataIndication(
    port: RelayPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: AddressWords,
  ): boolean {
    const start = this.#indications.write(buffer, offset, length, port.family, from);
    this.#delivery.offset = start;
    this.#delivery.length = offset - start + padded(length);
    return start >= 0;
  }
}
