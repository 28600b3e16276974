/** The attacks table, section 4 of the checklist, as far as the machine without sockets goes. */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, u16, utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, encodeLifetime } from "../../../src/protocol/stun/attributes.ts";
import {
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  Method,
} from "../../../src/protocol/stun/message.ts";
import {
  type ActingClient,
  channelNumber,
  errorOf,
  EVEN,
  isSuccess,
  lifetimeOf,
  nonceOf,
  PEER,
  peerAddress,
  receivedBy,
  TurnScene,
  UDP,
} from "./turn_scene.ts";

/** Limits that do not come into the way of a test that is about something else. */
const UNLIMITED = {
  challengeRate: { burst: 1e9, perSecond: 1e9 },
  bindingRate: { burst: 1e9, perSecond: 1e9 },
  failureRate: { burst: 1e9, perSecond: 1e9 },
};

/** Addresses that nobody may reach through a relay, in every spelling. */
const FORBIDDEN = `0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 10.0.0.1 100.64.0.1 169.254.169.254
  172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1
  203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1
  ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 2002:7f00:1::
  2002:a9fe:a9fe:: 2001::1 2001:db8::1 100::1 fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1`
  .split(/\s+/).map((address) => address.includes(":") ? `[${address}]:80` : `${address}:80`);
const REACHABLE = ["8.8.8.8", "[2606:4700::1111]", "172.15.255.255", "172.32.0.1"]
  .concat("100.63.255.255", "100.128.0.1", "11.0.0.1").map((address) => `${address}:80`);

const BOTH_FAMILIES = [AttributeType.AdditionalAddressFamily, Uint8Array.of(2, 0, 0, 0)] as const;

Deno.test("Attack 1-5 2-SEC-126: T-ACL, no spelling of a forbidden address gets through any door", () => {
  const scene = new TurnScene({ settings: UNLIMITED });
  const client = scene.allocated(undefined, BOTH_FAMILIES);
  for (const peer of FORBIDDEN) {
    strictEqual(errorOf(client.permit(peer)), 403, `CreatePermission ${peer}`);
    strictEqual(errorOf(client.bind(0x4000, peer)), 403, `ChannelBind ${peer}`);
    strictEqual(client.sendTo(peer, utf8("x")), undefined, `Send ${peer}`);
  }
  for (const peer of REACHABLE) {
    ok(isSuccess(client.permit(peer)), peer);
    ok(client.sendTo(peer, utf8("x")), peer);
  }
});

Deno.test("Attack 7-8: a flood of requests from one source is answered up to its rate", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const answered = (method: number) =>
    Array.from({ length: 1_000 }, () => client.ask(method))
      .filter((answer) => answer !== undefined).length;
  strictEqual(answered(Method.Allocate), 30);
  strictEqual(answered(Method.Binding), 100);
  scene.pass(1);
  strictEqual(answered(Method.Allocate), 10);
  ok(scene.client("203.0.113.8:1").ask(Method.Allocate), "others are answered");
  strictEqual(scene.client("203.0.113.7:9").ask(Method.Allocate), undefined, "all of its ports");
  const v6 = ["[2a00:99:0:1ff::1]:1", "[2a00:99:0:100::7]:1"].map((source) => scene.client(source));
  for (let n = 0; n < 30; n++) v6[n % 2]!.ask(Method.Allocate);
  strictEqual(v6[0]!.ask(Method.Allocate), undefined, "a site of IPv6 is one source");
  ok(scene.client("203.0.113.7:1", "tcp").ask(Method.Allocate), "a connection is not forged");
});

Deno.test("Attack 8: answers to strangers are little longer than what they sent", () => {
  const scene = new TurnScene({ settings: UNLIMITED });
  const client = scene.client();
  const binding = client.ask(Method.Binding);
  ok(binding!.bytes.length <= 1.6 * 20, `${binding!.bytes.length} bytes`);
  const challenge = client.ask(Method.Allocate, UDP);
  ok(challenge!.bytes.length <= 3.2 * 28, `${challenge!.bytes.length} bytes`);
  const garbled = client.request(Method.Allocate, [UDP], { credentials: () => [] });
  strictEqual(errorOf(garbled), 400);
  ok(garbled!.bytes.length <= 28);
});

Deno.test("Attack 9: what a server answers makes no server answer", () => {
  const scene = new TurnScene({ settings: UNLIMITED });
  const client = scene.client();
  const answers = [
    client.ask(Method.Binding),
    client.ask(Method.Allocate),
    client.ask(Method.Binding, [0x7fff, new Uint8Array()]),
    client.request(Method.Allocate, [UDP], { credentials: () => [] }),
    client.allocate(),
    client.allocate(),
  ];
  client.nonce = "stale";
  answers.push(client.refresh(600));
  deepStrictEqual(answers.map(errorOf), [undefined, 401, 420, 400, undefined, 437, 438]);
  for (const answer of answers) {
    for (const victim of [client, scene.client("203.0.113.8:3478")]) {
      strictEqual(victim.receive(answer!.bytes), undefined);
      strictEqual(victim.answers.length, 0);
    }
  }
});

Deno.test("Attack 10: strangers leave nothing behind but a bounded table of sources", () => {
  const scene = new TurnScene({ settings: { maxTrackedSources: 100 } });
  const ask = (n: number) => {
    const source = `198.${n >> 16 & 255}.${n >> 8 & 255}.${n & 255}:${1_024 + n % 60_000}`;
    const client = scene.client(source);
    client.ask(Method.Allocate, UDP);
    strictEqual(client.allocation, undefined);
  };
  for (let n = 0; n < 2_000; n++) ask(n);
  const before = Deno.memoryUsage().heapUsed;
  for (let n = 0; n < 20_000; n++) ask(n);
  const growth = Deno.memoryUsage().heapUsed - before;
  // Garbage that has not been collected counts too, so the bound says only "not per source".
  ok(growth < 64 * 1024 * 1024, `${growth} bytes`);
  strictEqual(scene.server.allocationCount, 0);
  strictEqual(scene.server.nextDeadline(), Infinity);
  strictEqual(scene.open.size + scene.waiting.length, 0);
});

Deno.test("Attack 11: nonces and reservation tokens do not repeat", () => {
  const scene = new TurnScene({ settings: { ...UNLIMITED, maxAllocationsPerUser: 1e6 } });
  const nonces = new Set<string>();
  for (let port = 1; port <= 2_000; port++) {
    nonces.add(nonceOf(scene.client(`203.0.113.7:${port}`).ask(Method.Allocate)).slice(19));
  }
  strictEqual(nonces.size, 2_000);
});

Deno.test("Attack 12: no mutated message throws, or reaches a peer that has no permission", () => {
  const scene = new TurnScene({ settings: UNLIMITED });
  const client = scene.allocated();
  client.permit(PEER);
  client.bind(0x4000, PEER);
  const seeds = seedMessages(scene, client);
  const mutation = fc.record({
    seed: fc.nat({ max: seeds.length - 1 }),
    changes: fc.array(fc.tuple(fc.nat({ max: 300 }), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    }),
    cut: fc.option(fc.nat({ max: 300 }), { freq: 4 }),
    fixesLength: fc.boolean(),
  });
  fc.assert(
    fc.property(mutation, ({ seed, changes, cut, fixesLength }) => {
      const bytes = seeds[seed]!.slice(0, cut ?? undefined);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      if (fixesLength && bytes.length >= 20) bytes.set(u16(bytes.length - 20), 2);
      const outgoing = client.receive(bytes);
      if (outgoing?.to === "peer") ok(outgoing.peer.startsWith("8.8.8.8:"), outgoing.peer);
      for (const answer of client.answers.splice(0)) ok(decodeStunMessage(answer));
      ok(client.allocation, "no mutation ends an allocation");
    }),
    { numRuns: 100_000, endOnFailure: true },
  );
  strictEqual(scene.server.allocationCount, 1);
});

Deno.test("Attack 12: random bytes do nothing", () => {
  const scene = new TurnScene({ settings: UNLIMITED });
  const client = scene.allocated();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      strictEqual(client.receive(bytes), undefined);
      strictEqual(client.answers.length, 0);
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("Attack 13: attributes appended behind the signature have no effect", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const append = (bytes: Uint8Array, type: number, value: Uint8Array) => {
    const longer = concatBytes(bytes, u16(type), u16(value.length), value);
    longer.set(u16(longer.length - 20), 2);
    return longer;
  };
  const refresh = client.signed(Method.Refresh, []);
  client.receive(append(refresh, AttributeType.Lifetime, encodeLifetime(0)));
  strictEqual(lifetimeOf(client.answer()), 600);
  ok(client.allocation);

  const transactionId = scene.nextTransaction();
  const [type, victim] = peerAddress("8.8.4.4:1", transactionId);
  const permit = client.signed(
    Method.CreatePermission,
    [peerAddress(PEER, transactionId)],
    { transactionId },
  );
  client.receive(append(permit, type, victim));
  ok(isSuccess(client.answer()));
  strictEqual(client.sendTo("8.8.4.4:1", utf8("x")), undefined);
  ok(client.sendTo(PEER, utf8("x")));

  const send = encodeStunMessage({
    method: Method.Send,
    messageClass: MessageClass.Indication,
    transactionId,
    attributes: [[AttributeType.Data, utf8("x")]],
    integrity: client.integrity,
  });
  const [, peer] = peerAddress(PEER, transactionId);
  strictEqual(client.receive(append(send, type, peer)), undefined);
});

Deno.test("Attack 14: of two peers the one that is used is the one that was judged", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const transactionId = scene.nextTransaction();
  const bind = (...peers: string[]) =>
    client.request(
      Method.ChannelBind,
      [channelNumber(0x4000), ...peers.map((peer) => peerAddress(peer, transactionId))],
      { transactionId },
    );
  strictEqual(errorOf(bind("127.0.0.1:80", PEER)), 403);
  ok(isSuccess(bind(PEER, "127.0.0.1:80")));
  const sent = client.channelData(0x4000, utf8("x"));
  strictEqual(sent?.to === "peer" && sent.peer, PEER);
});

Deno.test("Attack 15: EVEN-PORT without reservation leaks no port", () => {
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_003 }, relayedV6: undefined },
  });
  for (let n = 0; n < 100; n++) {
    const client = scene.allocated(`203.0.113.7:${n + 1}`, EVEN);
    strictEqual(scene.server.freePorts, 3);
    client.refresh(0);
    scene.pass(1);
  }
  strictEqual(scene.server.freePorts, 4);
});

Deno.test("Attack 16: mobility is not built, its ticket is passed over", () => {
  const scene = new TurnScene();
  ok(isSuccess(scene.client().allocate([0x8030, new Uint8Array(8)])));
});

Deno.test("Attack 23: guesses at a password run dry, and lock nobody else out", () => {
  const scene = new TurnScene();
  const guesser = scene.client("203.0.113.66:1", "tcp").as("user", "wrong");
  guesser.nonce = nonceOf(guesser.ask(Method.Allocate));
  const refused = Array.from({ length: 200 }, () => errorOf(guesser.allocate()));
  strictEqual(refused.filter((code) => code === 401).length, 20);
  guesser.as("user");
  strictEqual(guesser.allocate(), undefined, "the right one is not told from a wrong one");
  ok(isSuccess(scene.client("203.0.113.7:1").allocate()), "the user is not locked out");
  scene.pass(30);
  ok(isSuccess(guesser.allocate()), "nor is the source for long");
});

Deno.test("Attack 23: guesses at names run dry like guesses at passwords", () => {
  const scene = new TurnScene();
  const guesser = scene.client("203.0.113.66:1", "tcp");
  guesser.nonce = nonceOf(guesser.ask(Method.Allocate));
  const answered = Array.from({ length: 200 }, (_, n) => guesser.as(`user${n}`).allocate())
    .filter((answer) => answer !== undefined);
  strictEqual(answered.length, 20);
});

Deno.test("Attack 23: many sources that guess at one user run dry together", () => {
  const scene = new TurnScene();
  let looked = 0;
  for (let round = 0; round < 3; round++) {
    for (let n = 1; n <= 100; n++) {
      const guesser = scene.client(`198.51.${n}.1:1`, "tcp").as("user", "wrong");
      guesser.nonce = nonceOf(guesser.ask(Method.Allocate));
      if (guesser.allocate() !== undefined) looked++;
    }
  }
  ok(looked <= 100, `${looked} guesses in three rounds of 100 sources: one each`);
});

Deno.test("Attack 23: forged sources cannot use up a user's guesses", () => {
  const scene = new TurnScene();
  for (let n = 1; n <= 200; n++) {
    const forged = scene.client(`198.51.${n}.1:1`).as("user", "wrong");
    forged.nonce = "obMatJos2wAADAAAAAAAAAAAAAAAA";
    forged.allocate();
  }
  const clumsy = scene.client("203.0.113.7:1").as("user", "wrong");
  clumsy.allocate();
  ok(isSuccess(clumsy.as("user").allocate()));
});

Deno.test("Attack 25: no allocation installs permissions without end", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  let installed = 0;
  for (let n = 0; n < 300; n++) {
    if (isSuccess(client.permit(`8.${n >> 8}.${n & 255}.1:1`))) installed++;
  }
  strictEqual(installed, 256);
  for (let n = 0; n < 5_000; n++) client.sendTo(`8.0.0.1:${n + 1}`, utf8("x"));
  ok(client.sendTo("8.0.0.1:65000", utf8("x")), "peers that were met are forgotten, not refused");
});

Deno.test("Attack 26: a packet goes from one client to another once, and no further", () => {
  const scene = new TurnScene();
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  one.permit(two.relayed);
  strictEqual(one.sendTo(two.relayed, utf8("x")), undefined, "the other must want it too");
  strictEqual(scene.server.counters.droppedNoPermission, 1);
  two.permit(one.relayed);
  const outgoing = one.sendTo(two.relayed, utf8("hello"));
  ok(outgoing?.to === "client" && outgoing.client === two);
  deepStrictEqual(receivedBy(outgoing), { from: one.relayed, data: "hello" });

  one.bind(0x4000, two.relayed);
  two.bind(0x4001, one.relayed);
  for (const data of ["", "a", "abcde"]) {
    const there = one.channelData(0x4000, utf8(data));
    deepStrictEqual(receivedBy(there), { from: "0x4001", data });
    const back = two.channelData(0x4001, utf8(data));
    deepStrictEqual(receivedBy(back), { from: "0x4000", data });
  }
  const itself = scene.allocated("203.0.113.7:3");
  itself.permit(itself.relayed);
  strictEqual(receivedBy(itself.sendTo(itself.relayed, utf8("echo"))).data, "echo");
  strictEqual(itself.answers.length, 0);
});

Deno.test("Attack 26: what is sent to a relayed address that is gone is dropped", () => {
  const scene = new TurnScene();
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  one.permit(two.relayed);
  const { relayed } = two;
  two.refresh(0);
  strictEqual(one.sendTo(relayed, utf8("x")), undefined);
  strictEqual(scene.server.counters.droppedNoAllocation, 1);
});

Deno.test("Attack 26: two ends that echo one another stay within the bandwidth", () => {
  const scene = new TurnScene({ settings: { maxBitsPerSecond: 8 * 100_000 } });
  const [one, two] = [scene.allocated("203.0.113.7:1"), scene.allocated("203.0.113.7:2")];
  one.bind(0x4000, two.relayed);
  two.bind(0x4000, one.relayed);
  const data = new Uint8Array(1_000);
  let hops = 0;
  while (hops < 1_000 && (hops % 2 === 0 ? one : two).channelData(0x4000, data)) hops++;
  strictEqual(hops, 100);
});

/** Good messages of every kind, for mutations. None of them deletes an allocation. */
function seedMessages(scene: TurnScene, client: ActingClient): Uint8Array[] {
  const transactionId = scene.nextTransaction();
  const peer = peerAddress(PEER, transactionId);
  const send = (fingerprint: boolean) =>
    encodeStunMessage({
      method: Method.Send,
      messageClass: MessageClass.Indication,
      transactionId,
      attributes: [peer, [AttributeType.Data, utf8("hello")]],
      fingerprint,
    });
  const binding = encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Request,
    transactionId,
    attributes: [[AttributeType.Software, utf8("client")]],
  });
  const options = { transactionId };
  return [
    binding,
    client.signed(Method.Allocate, [UDP, EVEN], options),
    client.signed(Method.Refresh, [[AttributeType.Lifetime, encodeLifetime(600)]], options),
    client.signed(Method.CreatePermission, [peer], options),
    client.signed(Method.ChannelBind, [channelNumber(0x4000), peer], options),
    send(false),
    send(true),
    concatBytes(u16(0x4000), u16(5), utf8("hello")),
  ];
}
