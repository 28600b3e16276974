/** Every way that a packet takes through the TURN machine, ready to be walked again and again. */

import { concatBytes, u16 } from "../../src/base/bytes.ts";
import { AttributeType } from "../../src/protocol/stun/attributes.ts";
import { encodeStunMessage, MessageClass, Method } from "../../src/protocol/stun/message.ts";
import { type Delivery, HEADROOM, TAILROOM } from "../../src/protocol/turn/relay_data.ts";
import {
  type ActingClient,
  BOTH,
  endpointOf,
  PEER,
  PEER_V6,
  peerAddress,
  TurnScene,
} from "../../tests/protocol/turn/turn_scene.ts";

/** One way: `walk` takes one packet along it and returns what the shell would send. */
export interface PacketPath {
  readonly name: string;
  walk(): Delivery | undefined;
}

const UNBOUND_PEER = "8.8.8.8:6000";

/** The paths for packets with `size` bytes of data. */
export function packetPaths(size: number): PacketPath[] {
  const scene = new TurnScene();
  const [client, other] = [
    scene.allocated("203.0.113.7:1", BOTH),
    scene.allocated("203.0.113.7:2"),
  ];
  client.permit(PEER, PEER_V6);
  client.bind(0x4000, PEER);
  client.bind(0x4001, PEER_V6);
  client.bind(0x4002, other.relayed);
  other.bind(0x4000, client.relayed);
  const limited = new TurnScene({ settings: { maxBitsPerSecond: 1e15 } });
  const limitedClient = limited.allocated("203.0.113.7:1");
  limitedClient.bind(0x4000, PEER);
  const data = new Uint8Array(size).fill(7);
  const channelData = (channel: number) => concatBytes(u16(channel), u16(size), data);
  const fromClient = (name: string, bytes: Uint8Array) => clientPath(scene, client, name, bytes);
  const { v4, v6 } = client.allocation!;
  const fromPeer = (name: string, port: typeof v4, peer: string) => {
    const source = endpointOf(peer);
    const buffer = inBuffer(data);
    return {
      name,
      walk: () => scene.server.receiveFromPeer(port!, buffer, HEADROOM, size, source, 1),
    };
  };
  return [
    fromClient("ChannelData to a peer", channelData(0x4000)),
    fromClient("ChannelData to an IPv6 peer", channelData(0x4001)),
    clientPath(limited, limitedClient, "ChannelData of a limited user", channelData(0x4000)),
    fromClient("Send to a peer", sendIndication(scene, UNBOUND_PEER, data)),
    fromClient("ChannelData to another client (hairpin)", channelData(0x4002)),
    fromPeer("a peer's packet as ChannelData", v4, PEER),
    fromPeer("an IPv6 peer's packet as ChannelData", v6, PEER_V6),
    fromPeer("a peer's packet as a Data indication", v4, UNBOUND_PEER),
    fromPeer("a packet without permission, dropped", v4, "9.9.9.9:1"),
  ];
}

function clientPath(
  scene: TurnScene,
  client: ActingClient,
  name: string,
  bytes: Uint8Array,
): PacketPath {
  const buffer = inBuffer(bytes);
  return {
    name,
    walk: () => {
      // A hairpinned packet has its headers written over the ones that it came with.
      for (let i = 0; i < 4; i++) buffer[HEADROOM + i] = bytes[i]!;
      return scene.server.receiveFromClient(client, buffer, HEADROOM, bytes.length, 1);
    },
  };
}

function sendIndication(scene: TurnScene, peer: string, data: Uint8Array): Uint8Array {
  const transactionId = scene.nextTransaction();
  return encodeStunMessage({
    method: Method.Send,
    messageClass: MessageClass.Indication,
    transactionId,
    attributes: [peerAddress(peer, transactionId), [AttributeType.Data, data]],
  });
}

function inBuffer(bytes: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(HEADROOM + bytes.length + TAILROOM);
  buffer.set(bytes, HEADROOM);
  return buffer;
}

/**
 * Heap bytes that one walk of `path` leaves behind: the median of many rounds, since a collection in
 * the middle of one makes it worthless. The walks before let the compiler finish.
 */
export function bytesPerPacket({ walk }: PacketPath, rounds = 21): number {
  const packets = 20_000;
  for (let n = 0; n < 200_000; n++) walk();
  const samples = Array.from({ length: rounds }, () => {
    const before = Deno.memoryUsage().heapUsed;
    for (let n = 0; n < packets; n++) walk();
    return (Deno.memoryUsage().heapUsed - before) / packets;
  });
  return samples.sort((a, b) => a - b)[rounds >> 1]!;
}
