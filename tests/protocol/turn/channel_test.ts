/** Channels (RFC 8656 section 12): statements 31, 101 and 105 to 120 of docs/relay_checklist.md. */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes, u16, utf8 } from "../../../src/base/bytes.ts";
import { Method } from "../../../src/protocol/stun/message.ts";
import {
  BOTH,
  channelNumber,
  errorOf,
  isSuccess,
  type Outgoing,
  PEER,
  PEER_V6,
  peerAddress,
  receivedBy,
  TurnScene,
} from "./turn_scene.ts";

const HELLO = utf8("hello");

function sentTo(outgoing: Outgoing | undefined): string | undefined {
  return outgoing?.to === "peer" ? outgoing.peer : undefined;
}

Deno.test("2-CH-105 ChannelBind names a channel and a peer", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const id = scene.nextTransaction();
  const code = (...attributes: Parameters<typeof client.request>[1]) =>
    errorOf(client.request(Method.ChannelBind, attributes, { transactionId: id }));
  strictEqual(code(channelNumber(0x4000)), 400);
  strictEqual(code(peerAddress(PEER, id)), 400);
  strictEqual(code(channelNumber(0x4000), [peerAddress(PEER, id)[0], new Uint8Array(3)]), 400);
  strictEqual(code([channelNumber(1)[0], new Uint8Array(2)], peerAddress(PEER, id)), 400);
  strictEqual(code(channelNumber(0x4000), peerAddress(PEER, id)), undefined);
});

Deno.test("2-CH-106 Channels are 0x4000 to 0x4FFF, for old clients to 0x7FFF", () => {
  for (const legacyChannels of [false, true]) {
    const scene = new TurnScene({ settings: { legacyChannels } });
    const code = (channel: number, port: number) =>
      errorOf(scene.allocated(`203.0.113.7:${port}`).bind(channel, PEER));
    strictEqual(code(0x3fff, 1), 400);
    strictEqual(code(0x4000, 2), undefined);
    strictEqual(code(0x4fff, 3), undefined);
    strictEqual(code(0x5000, 4), legacyChannels ? undefined : 400);
    strictEqual(code(0x7fff, 5), legacyChannels ? undefined : 400);
    strictEqual(code(0x8000, 6), 400);
  }
});

Deno.test("2-CH-107 2-CH-108 A channel has one peer, and a peer one channel", () => {
  const client = new TurnScene().allocated();
  ok(isSuccess(client.bind(0x4000, PEER)));
  const refused = client.bind(0x4000, "8.8.8.8:5001");
  strictEqual(errorOf(refused), 400);
  ok(client.trusts(refused));
  strictEqual(errorOf(client.bind(0x4001, PEER)), 400);
  ok(isSuccess(client.bind(0x4001, "8.8.8.8:5001")), "another port is another peer");
});

Deno.test("2-CH-109 2-CH-120 The same binding again begins anew", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.bind(0x4000, PEER);
  scene.pass(400);
  ok(isSuccess(client.bind(0x4000, PEER)));
  ok(scene.fromPeer(PEER, client.relayed, HELLO), "with its permission");
  scene.pass(400);
  strictEqual(sentTo(client.channelData(0x4000, HELLO)), PEER);
});

Deno.test("2-CH-110 2-CH-111 A peer of another family is 443, a forbidden one 403", () => {
  const client = new TurnScene().allocated();
  strictEqual(errorOf(client.bind(0x4000, PEER_V6)), 443);
  strictEqual(errorOf(client.bind(0x4000, "10.0.0.1:1")), 403);
});

Deno.test("2-CH-112 An allocation has so many channels and no more", () => {
  const scene = new TurnScene({ settings: { maxChannels: 2 } });
  const client = scene.allocated("203.0.113.7:1", BOTH);
  client.refresh(3_600);
  client.bind(0x4000, PEER);
  client.bind(0x4001, PEER_V6);
  strictEqual(errorOf(client.bind(0x4002, "8.8.8.8:1")), 508);
  ok(isSuccess(client.bind(0x4000, PEER)));
  scene.pass(601);
  ok(isSuccess(client.bind(0x4002, "8.8.8.8:1")), "what has lapsed makes room");
});

Deno.test("2-CH-113 A channel lives for ten minutes, the permission it brings for five", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.bind(0x4000, PEER);
  scene.pass(299);
  ok(scene.fromPeer(PEER, client.relayed, HELLO));
  scene.pass(2);
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
  scene.pass(298);
  strictEqual(sentTo(client.channelData(0x4000, HELLO)), PEER);
  scene.pass(2);
  strictEqual(client.channelData(0x4000, HELLO), undefined);
});

Deno.test("2-CH-114 ChannelData above the last channel is dropped silently", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  for (const channel of [0x5000, 0x7fff, 0x8000, 0xffff]) {
    strictEqual(client.channelData(channel, HELLO), undefined);
  }
  strictEqual(client.answers.length, 0);
  const legacy = new TurnScene({ settings: { legacyChannels: true } });
  const old = legacy.allocated();
  old.bind(0x7fff, PEER);
  strictEqual(sentTo(old.channelData(0x7fff, HELLO)), PEER);
});

Deno.test("2-CH-115 2-TCP-31 A length beyond the datagram drops it, bytes behind are padding", () => {
  const client = new TurnScene().allocated();
  client.bind(0x4000, PEER);
  const header = concatBytes(u16(0x4000), u16(5));
  strictEqual(client.receive(concatBytes(header, HELLO.subarray(1))), undefined);
  strictEqual(client.receive(header.subarray(0, 3)), undefined);
  const padded = client.receive(concatBytes(header, HELLO, new Uint8Array(3)));
  deepStrictEqual(padded?.to === "peer" && [...padded.bytes], [...HELLO]);
});

Deno.test("2-CH-116 ChannelData without data is an empty datagram", () => {
  const client = new TurnScene().allocated();
  client.bind(0x4000, PEER);
  const sent = client.channelData(0x4000, new Uint8Array());
  strictEqual(sent?.to === "peer" && sent.bytes.length, 0);
});

Deno.test("2-CH-117 A channel that is not bound relays nothing, and data renews none", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  strictEqual(client.channelData(0x4000, HELLO), undefined);
  strictEqual(scene.server.counters.droppedNoChannel, 1);
  client.bind(0x4000, PEER);
  for (let n = 0; n < 10; n++) {
    scene.pass(59);
    ok(client.channelData(0x4000, HELLO));
  }
  scene.pass(11);
  strictEqual(client.channelData(0x4000, HELLO), undefined);
});

Deno.test("2-CH-118 When only the permission has lapsed, data goes out and none comes in", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.bind(0x4000, PEER);
  scene.pass(400);
  strictEqual(sentTo(client.channelData(0x4000, HELLO)), PEER);
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
  client.permit(PEER);
  strictEqual(receivedBy(scene.fromPeer(PEER, client.relayed, HELLO)).from, "0x4000");
});

Deno.test("2-CH-119 A channel that has lapsed may be bound to another peer", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.bind(0x4000, PEER);
  scene.pass(599);
  strictEqual(errorOf(client.bind(0x4000, "8.8.4.4:1")), 400);
  scene.pass(2);
  ok(isSuccess(client.bind(0x4000, "8.8.4.4:1")));
  ok(isSuccess(client.bind(0x4001, PEER)), "and the peer to another channel");
  strictEqual(sentTo(client.channelData(0x4000, HELLO)), "8.8.4.4:1");
  strictEqual(receivedBy(scene.fromPeer(PEER, client.relayed, HELLO)).from, "0x4001");
});

Deno.test("2-CH-119 With the channel lapsed and a permission in force, a peer comes as Data", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.bind(0x4000, PEER);
  scene.pass(599);
  client.permit(PEER);
  scene.pass(2);
  strictEqual(receivedBy(scene.fromPeer(PEER, client.relayed, HELLO)).from, PEER);
});

Deno.test("2-PE-101 A bound peer comes as ChannelData, its other ports as Data", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.bind(0x4abc, PEER);
  deepStrictEqual(receivedBy(scene.fromPeer(PEER, client.relayed, HELLO)), {
    from: "0x4abc",
    data: "hello",
  });
  strictEqual(
    receivedBy(scene.fromPeer("8.8.8.8:5001", client.relayed, HELLO)).from,
    "8.8.8.8:5001",
  );
});

Deno.test("2-TCP-30 2-TCP-31 ChannelData is padded on a stream and not in a datagram", () => {
  const scene = new TurnScene();
  for (const transport of ["udp", "tcp", "tls"] as const) {
    const client = scene.client(`203.0.113.7:${transport.charCodeAt(1)}`, transport);
    client.allocate();
    client.bind(0x4000, PEER);
    for (let length = 0; length < 8; length++) {
      const data = new Uint8Array(length).fill(9);
      const outgoing = scene.fromPeer(PEER, client.relayed, data);
      const padding = transport === "udp" ? 0 : (4 - length % 4) % 4;
      const expected = concatBytes(u16(0x4000), u16(length), data, new Uint8Array(padding));
      deepStrictEqual(outgoing?.to === "client" && outgoing.bytes, expected);
    }
  }
});
