/** CreatePermission and ChannelBind (RFC 8656 sections 10 and 12): what peers a client may use. */

import { FIRST_CHANNEL, LAST_CHANNEL, LAST_LEGACY_CHANNEL } from "../stun/channel_data.ts";
import { AttributeType, decodeChannelNumber } from "../stun/attributes.ts";
import type { StunMessage } from "../stun/message.ts";
import type { Allocation } from "./allocation.ts";
import { grant, type Granted, type Refusal, refuse } from "./answer.ts";
import type { PeerPolicy } from "./peer_policy.ts";
import { CHANNEL_LIFETIME, type RelayPort } from "./relay_port.ts";
import { type JudgedPeer, judgePeer } from "./request.ts";
import type { TurnSettings } from "./settings.ts";

type Policy = Pick<PeerPolicy, "judge">;

/** Installs permissions for every peer that is named, or for none. */
export function createPermission(
  message: StunMessage,
  allocation: Allocation,
  policy: Policy,
  settings: TurnSettings,
  now: number,
): Granted | Refusal {
  const values = message.all(AttributeType.XorPeerAddress);
  if (values.length === 0) return refuse(400, "XOR-PEER-ADDRESS is missing");
  const peers: JudgedPeer[] = [];
  for (const value of values) {
    const peer = judgePeer(value, message, allocation, policy);
    if (peer.kind === "refused") return peer;
    peers.push(peer);
  }
  if (!haveRoom(peers, allocation, settings, now)) {
    return refuse(508, "Too many permissions in this allocation");
  }
  for (const { port, endpoint } of peers) port.permit(endpoint, now);
  return grant();
}

/** Binds a channel to a peer or renews it, and installs a permission for the peer. */
export function channelBind(
  message: StunMessage,
  allocation: Allocation,
  policy: Policy,
  settings: TurnSettings,
  now: number,
): Granted | Refusal {
  const numberValue = message.get(AttributeType.ChannelNumber);
  const peerValue = message.get(AttributeType.XorPeerAddress);
  const number = numberValue && decodeChannelNumber(numberValue);
  if (number === undefined || peerValue === undefined) {
    return refuse(400, "CHANNEL-NUMBER or XOR-PEER-ADDRESS is missing or malformed");
  }
  const last = settings.legacyChannels ? LAST_LEGACY_CHANNEL : LAST_CHANNEL;
  if (number < FIRST_CHANNEL || number > last) {
    return refuse(400, `Channels are 0x${FIRST_CHANNEL.toString(16)} to 0x${last.toString(16)}`);
  }
  const judged = judgePeer(peerValue, message, allocation, policy);
  if (judged.kind === "refused") return judged;

  const { port, endpoint, isOwn } = judged;
  forgetLapsed(allocation, now);
  const bound = allocation.channels.get(number);
  const known = port.peer(endpoint);
  if (bound !== undefined ? bound.peer !== known : known?.channel !== undefined) {
    return refuse(400, "The channel or the peer is bound otherwise");
  }
  if (bound === undefined && allocation.channels.size >= settings.maxChannels) {
    return refuse(508, "Too many channels in this allocation");
  }
  if (!haveRoom([judged], allocation, settings, now)) {
    return refuse(508, "Too many permissions in this allocation");
  }
  const permission = port.permit(endpoint, now);
  const peer = port.peer(endpoint) ?? port.remember(endpoint, permission, isOwn);
  const channel = bound ?? { number, peer, port, expiresAt: 0 };
  channel.expiresAt = now + CHANNEL_LIFETIME;
  peer.channel = channel;
  allocation.channels.set(number, channel);
  return grant();
}

/** Ends what a policy that has been put into force does not allow any more. */
export function reviewPeers(allocation: Allocation, policy: Policy): void {
  for (const port of allocation.ports) {
    const closed = port.review(({ address, port: number }) =>
      policy.judge(address, number) !== "forbidden"
    );
    for (const { number } of closed) allocation.channels.delete(number);
  }
}

/** A channel whose time is over may be bound to another peer. */
function forgetLapsed({ channels }: Allocation, now: number): void {
  for (const channel of channels.values()) {
    if (channel.expiresAt > now) continue;
    channel.peer.channel = undefined;
    channels.delete(channel.number);
  }
}

/** Whether the permissions that these peers lack fit into the allocation. */
function haveRoom(
  peers: readonly JudgedPeer[],
  allocation: Allocation,
  { maxPermissions }: TurnSettings,
  now: number,
): boolean {
  const missing = new Map<string, RelayPort>();
  for (const { port, endpoint } of peers) {
    if (port.permission(endpoint) === undefined) missing.set(endpoint.hostname, port);
  }
  if (missing.size === 0) return true;
  forgetLapsed(allocation, now);
  const held = allocation.ports.reduce((count, port) => count + port.countPermissions(now), 0);
  return held + missing.size <= maxPermissions;
}
