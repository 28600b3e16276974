/** Permissions, Send and Data (RFC 8656 sections 9 to 11): statements 87 to 104, 125 to 128. */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { Endpoint } from "../../../src/base/endpoint.ts";
import { AttributeType, decodeXorAddress } from "../../../src/protocol/stun/attributes.ts";
import { decodeStunMessage, MessageClass, Method } from "../../../src/protocol/stun/message.ts";
import { icmpIndication } from "../../../src/protocol/turn/icmp_indication.ts";
import type { RelayPort } from "../../../src/protocol/turn/relay_port.ts";
import {
  BOTH,
  DONT_FRAGMENT,
  errorOf,
  isSuccess,
  LISTENING,
  type Outgoing,
  PEER,
  PEER_V6,
  peerAddress,
  policy,
  receivedBy,
  RELAYED_V4,
  TurnScene,
  V6,
} from "./turn_scene.ts";
import { DEFAULT_TURN_SETTINGS } from "../../../src/protocol/turn/settings.ts";
import { parseAddressPort, parseIp } from "../../../src/base/address.ts";

const HELLO = utf8("hello");

function sentTo(outgoing: Outgoing | undefined): string | undefined {
  return outgoing?.to === "peer" ? outgoing.peer : undefined;
}

Deno.test("2-PE-87 CreatePermission names a peer", () => {
  const client = new TurnScene().allocated();
  const answer = client.permit();
  strictEqual(errorOf(answer), 400);
  ok(client.trusts(answer));
});

Deno.test("2-ST-25 2-PE-88 2-PE-91 One bad peer and none of the list is permitted", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  strictEqual(errorOf(client.permit(PEER, "127.0.0.1:1", "8.8.4.4:1")), 403);
  const transactionId = scene.nextTransaction();
  const [type, value] = peerAddress(PEER, transactionId);
  for (const malformed of [value.subarray(1), value.with(1, 3), new Uint8Array()]) {
    const answer = client.request(
      Method.CreatePermission,
      [[type, value], [type, malformed]],
      { transactionId },
    );
    strictEqual(errorOf(answer), 400);
  }
  strictEqual(client.sendTo(PEER, HELLO), undefined);
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
});

Deno.test("2-PE-89 Several peers are permitted at once", () => {
  const client = new TurnScene().allocated();
  const peers = [PEER, "8.8.4.4:1", "9.9.9.9:2"];
  ok(isSuccess(client.permit(...peers)));
  for (const peer of peers) strictEqual(sentTo(client.sendTo(peer, HELLO)), peer);
});

Deno.test("2-PE-90 A peer of another family than the allocation's is refused with 443", () => {
  const scene = new TurnScene();
  strictEqual(errorOf(scene.allocated("203.0.113.7:1").permit(PEER_V6)), 443);
  strictEqual(errorOf(scene.allocated("203.0.113.7:2", V6).permit(PEER)), 443);
  ok(isSuccess(scene.allocated("203.0.113.7:3", BOTH).permit(PEER, PEER_V6)));
});

Deno.test("2-PE-92 An allocation has so many permissions and no more", () => {
  const scene = new TurnScene({ settings: { maxPermissions: 4 } });
  const client = scene.allocated();
  ok(isSuccess(client.permit("8.0.0.1:1", "8.0.0.1:2", "8.0.0.2:1", "8.0.0.3:1")));
  strictEqual(errorOf(client.permit("8.0.0.4:1", "8.0.0.5:1")), 508);
  ok(isSuccess(client.permit("8.0.0.1:9", "8.0.0.4:1")), "one is refreshed, one fits");
  strictEqual(errorOf(client.permit("8.0.0.5:1")), 508);
  strictEqual(errorOf(client.bind(0x4000, "8.0.0.5:1")), 508);
  ok(isSuccess(client.bind(0x4000, "8.0.0.4:1")));
  scene.pass(301);
  ok(
    isSuccess(client.permit("8.0.0.6:1", "8.0.0.7:1", "8.0.0.8:1")),
    "what has lapsed is forgotten",
  );
  strictEqual(errorOf(client.permit("8.0.0.9:1")), 508, "the channel keeps its own");
  ok(DEFAULT_TURN_SETTINGS.maxPermissions >= 64);
});

Deno.test("2-PE-93 A permission is for an IP address with all its ports", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit("8.8.8.8:1");
  for (const from of ["8.8.8.8:1", "8.8.8.8:65535"]) {
    deepStrictEqual(receivedBy(scene.fromPeer(from, client.relayed, HELLO)), {
      from,
      data: "hello",
    });
  }
  strictEqual(scene.fromPeer("8.8.8.9:1", client.relayed, HELLO), undefined);
});

Deno.test("2-PE-94 A permission lives for five minutes from its last CreatePermission", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.permit(PEER);
  scene.pass(299);
  ok(scene.fromPeer(PEER, client.relayed, HELLO));
  client.permit(PEER);
  scene.pass(299);
  ok(scene.fromPeer(PEER, client.relayed, HELLO));
  ok(client.sendTo(PEER, HELLO));
  scene.pass(2);
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
  strictEqual(client.sendTo(PEER, HELLO), undefined);
  client.permit(PEER);
  ok(client.sendTo(PEER, HELLO) && scene.fromPeer(PEER, client.relayed, HELLO), "and again");
});

Deno.test("2-PE-95 Send puts exactly its data into a datagram from the relayed address", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  for (const length of [0, 1, 2, 3, 4, 1_200]) {
    const data = new Uint8Array(length).fill(length);
    deepStrictEqual(client.sendTo(PEER, data), {
      to: "peer",
      peer: PEER,
      from: client.relayed,
      bytes: data,
      dontFragment: false,
    });
  }
});

Deno.test("2-PE-96 Send without permission, peer, data or allocation is dropped", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  const { counters } = scene.server;
  strictEqual(client.sendTo("8.8.4.4:1", HELLO), undefined);
  strictEqual(counters.droppedNoPermission, 1);
  const transactionId = scene.nextTransaction();
  const peer = peerAddress(PEER, transactionId);
  strictEqual(client.indicate(transactionId, [peer]), undefined);
  strictEqual(client.indicate(transactionId, [[AttributeType.Data, HELLO]]), undefined);
  strictEqual(client.indicate(transactionId, [[peer[0], peer[1].subarray(1)]]), undefined);
  strictEqual(counters.droppedMalformed, 3);
  strictEqual(scene.client("203.0.113.9:9").sendTo(PEER, HELLO), undefined);
  strictEqual(client.sendTo(PEER_V6, HELLO), undefined, "no address of that family");
  strictEqual(counters.droppedNoAllocation, 2);
});

Deno.test("2-PE-97 Send does not keep a permission alive", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  for (let n = 0; n < 10; n++) {
    scene.pass(29);
    ok(client.sendTo(PEER, HELLO));
  }
  scene.pass(11);
  strictEqual(client.sendTo(PEER, HELLO), undefined);
});

Deno.test("2-PE-98 A reload that forbids a peer ends its permissions and channels", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER, "8.8.4.4:1");
  client.bind(0x4000, PEER);
  client.bind(0x4001, "8.8.4.4:1");
  ok(client.sendTo(PEER, HELLO));
  scene.server.setPolicy(policy(
    {
      ...DEFAULT_TURN_SETTINGS,
      relayedV4: parseIp(RELAYED_V4),
      relayedV6: undefined,
      relayPorts: { min: 49_152, max: 65_535 },
    },
    { deny: ["8.8.8.0/24"] },
  ));
  strictEqual(client.sendTo(PEER, HELLO), undefined);
  strictEqual(client.channelData(0x4000, HELLO), undefined);
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
  strictEqual(errorOf(client.permit(PEER)), 403);
  strictEqual(errorOf(client.bind(0x4000, PEER)), 403);
  strictEqual(sentTo(client.channelData(0x4001, HELLO)), "8.8.4.4:1", "others go on");
  ok(scene.fromPeer("8.8.4.4:1", client.relayed, HELLO));
});

Deno.test("2-PE-99 Send may ask for a datagram that is not fragmented", () => {
  const client = new TurnScene().allocated();
  client.permit(PEER);
  const sent = client.sendTo(PEER, HELLO, DONT_FRAGMENT);
  ok(sent?.to === "peer" && sent.dontFragment);
  const plain = client.sendTo(PEER, HELLO);
  ok(plain?.to === "peer" && !plain.dontFragment);
});

Deno.test("2-PE-100 A peer needs a permission, and is named in a Data indication", () => {
  const scene = new TurnScene();
  const client = scene.allocated("203.0.113.7:1", BOTH);
  const { v4, v6 } = client.allocation!;
  const v6Relayed = `[${v6!.endpoint.hostname}]:${v6!.endpoint.port}`;
  strictEqual(scene.fromPeer(PEER, client.relayed, HELLO), undefined);
  strictEqual(scene.server.counters.droppedNoPermission, 1);
  client.permit(PEER, PEER_V6);
  for (const data of ["", "a", "ab", "abc", "abcd", "abcde"]) {
    deepStrictEqual(receivedBy(scene.fromPeer(PEER, client.relayed, utf8(data))), {
      from: PEER,
      data,
    });
    deepStrictEqual(receivedBy(scene.fromPeer(PEER_V6, v6Relayed, utf8(data))), {
      from: PEER_V6,
      data,
    });
  }
  ok(v4);
});

Deno.test("2-PE-100 The largest datagrams fit an indication or are dropped", () => {
  const scene = new TurnScene();
  const client = scene.allocated("203.0.113.7:1", BOTH);
  const v6 = client.allocation!.v6!.endpoint;
  client.permit(PEER, PEER_V6);
  ok(scene.fromPeer(PEER, client.relayed, new Uint8Array(65_507)));
  const relayed = `[${v6.hostname}]:${v6.port}`;
  ok(scene.fromPeer(PEER_V6, relayed, new Uint8Array(65_500)));
  strictEqual(scene.fromPeer(PEER_V6, relayed, new Uint8Array(65_507)), undefined);
});

Deno.test("2-PE-102 An ICMP error is told to the client as a Data indication without data", () => {
  const scene = new TurnScene();
  const client = scene.allocated("203.0.113.7:1", BOTH);
  const { v4, v6 } = client.allocation!;
  const [to, toV6] = [PEER, PEER_V6].map((text) => {
    const { address, port } = parseAddressPort(text)!;
    return new Endpoint(address, port);
  });
  const id = new Uint8Array(12).fill(7);
  const told = (port: RelayPort, to: Endpoint, type: number, code: number) => {
    const effect = icmpIndication(port, to, { type, code, mtu: 1_300 }, id, scene.now);
    if (effect === undefined) return undefined;
    strictEqual(effect.client, client);
    const message = decodeStunMessage(effect.bytes)!;
    deepStrictEqual([message.method, message.messageClass], [Method.Data, MessageClass.Indication]);
    strictEqual(message.get(AttributeType.Data), undefined);
    const peer = decodeXorAddress(message.get(AttributeType.XorPeerAddress)!, id);
    deepStrictEqual(peer && { ...peer }, { address: to.address, port: to.port });
    return toHex(message.get(AttributeType.Icmp)!);
  };
  strictEqual(told(v4!, to!, 3, 3), undefined);
  client.permit(PEER, PEER_V6);
  strictEqual(told(v4!, to!, 3, 3), "0000060300000000");
  strictEqual(told(v4!, to!, 3, 4), "0000060400000514");
  strictEqual(told(v4!, to!, 11, 0), "0000160000000000");
  for (const type of [0, 4, 5, 8, 12]) strictEqual(told(v4!, to!, type, 0), undefined);
  strictEqual(told(v6!, toV6!, 1, 4), "0000020400000000");
  strictEqual(told(v6!, toV6!, 2, 0), "0000040000000514");
  for (const type of [4, 127, 128]) strictEqual(told(v6!, toV6!, type, 0), undefined);
  scene.pass(301);
  strictEqual(told(v4!, to!, 3, 3), undefined);
});

Deno.test("2-PE-103 A permission of one allocation is none of another's", () => {
  const scene = new TurnScene();
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  one.permit(PEER);
  ok(scene.fromPeer(PEER, one.relayed, HELLO));
  strictEqual(scene.fromPeer(PEER, two.relayed, HELLO), undefined);
  strictEqual(two.sendTo(PEER, HELLO), undefined);
});

Deno.test("2-PE-104 An indication is never answered", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.sendTo("127.0.0.1:1", HELLO);
  client.sendTo(PEER, HELLO);
  client.indicate(scene.nextTransaction(), []);
  strictEqual(client.answers.length, 0);
});

Deno.test("2-TR-125 Clients of one family reach peers of the other", () => {
  const scene = new TurnScene();
  const v6Client = scene.allocated("[2a00:99::1]:1");
  v6Client.permit(PEER);
  strictEqual(sentTo(v6Client.sendTo(PEER, HELLO)), PEER);
  strictEqual(receivedBy(scene.fromPeer(PEER, v6Client.relayed, HELLO)).from, PEER);
  const v4Client = scene.allocated("203.0.113.7:1", V6);
  v4Client.permit(PEER_V6);
  strictEqual(sentTo(v4Client.sendTo(PEER_V6, HELLO)), PEER_V6);
  strictEqual(receivedBy(scene.fromPeer(PEER_V6, v4Client.relayed, HELLO)).from, PEER_V6);
});

Deno.test("2-SEC-127 Of the server's own address only relay ports can be reached", () => {
  const scene = new TurnScene();
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  strictEqual(errorOf(one.permit(LISTENING)), 403);
  strictEqual(errorOf(one.bind(0x4000, LISTENING)), 403);
  ok(isSuccess(one.permit(two.relayed)));
  strictEqual(one.sendTo(LISTENING, HELLO), undefined);
  strictEqual(one.sendTo(`${RELAYED_V4}:80`, HELLO), undefined);
  strictEqual(scene.server.counters.droppedForbidden, 2);
});

Deno.test("2-SEC-128 A user's bandwidth is bounded in each direction, over all allocations", () => {
  const scene = new TurnScene({ settings: { maxBitsPerSecond: 8 * 100_000 } });
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  for (const client of [one, two]) client.permit(PEER);
  const packet = new Uint8Array(1_000);
  const passed = (send: (n: number) => unknown) =>
    Array.from({ length: 200 }, (_, n) => send(n)).filter((sent) => sent !== undefined).length;
  const pair = (n: number) => n % 2 === 0 ? one : two;
  strictEqual(passed((n) => pair(n).sendTo(PEER, packet)), 100);
  strictEqual(passed((n) => scene.fromPeer(PEER, pair(n).relayed, packet)), 100);
  strictEqual(scene.server.counters.droppedBandwidth, 200);
  scene.pass(0.5);
  strictEqual(passed((n) => pair(n).sendTo(PEER, packet)), 50);
});
