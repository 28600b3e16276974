/* A relay of several threads: its clients cannot tell it from one of a single thread. */

import assert from "node:assert/strict";
import { parseIp, parsePrefix } from "../../../src/base/address.ts";
import { readU16, utf8 } from "../../../src/base/bytes.ts";
import { systemHost } from "../../../src/base/host.ts";
import { AttributeType, decodeErrorCode } from "../../../src/protocol/stun/attributes.ts";
import type { Attribute, StunMessage } from "../../../src/protocol/stun/message.ts";
import { Method } from "../../../src/protocol/stun/message.ts";
import type { RelayOptions } from "../../../src/roles/relay/relay_options.ts";
import { openUdpEngine } from "../../../src/roles/relay/udp_engine.ts";
import { openThread, type RelayCalls } from "../../../src/roles/relay/workers/relay_thread.ts";
import { RelayThreads } from "../../../src/roles/relay/workers/relay_threads.ts";
import { RoleThread } from "../../../src/roles/role_thread.ts";
import { within } from "../../support/deadline.ts";
import { ownPorts } from "../../support/free_port.ts";
import { RawTurn } from "../../support/raw_turn.ts";
import { startedRelay } from "../../support/started_relay.ts";
import { bareAllocate } from "../../support/stun_bytes.ts";
import type { WireClient } from "../../support/wire_client.ts";

const V4 = parseIp("127.0.0.1")!;
const OTHER = parseIp("127.0.0.9")!;
/** Enough that all of them on one of two threads would be a wonder. */
const MANY = 16;
const WITHIN_MS = 180_000;
/** Reserves the next port too. */
const PAIR: Attribute = [AttributeType.EvenPort, Uint8Array.of(0x80)];

const available = openUdpEngine("auto");
const ignore = available.engine !== "batch";
await available[Symbol.asyncDispose]();

Deno.test("a thread hears what was said before its bell was known", { ignore }, async () => {
  using late = new RoleThread<RelayCalls>(openThread(), undefined);
  using prompt = new RoleThread<RelayCalls>(openThread(), undefined);
  // By then the other one, which is older, has looked for messages and found none.
  await heard(prompt.call("load", undefined));
  await heard(late.call("load", undefined));
  await Promise.all([late, prompt].map((thread) => heard(thread.call("close", undefined))));
});

Deno.test(
  "where no other thread can be started, the first does everything",
  // Deno itself closes the ports of a thread that has failed, perhaps after the test.
  { ignore, sanitizeResources: false },
  async () => {
    await using sockets = openUdpEngine("auto");
    const broken = `data:text/javascript,${encodeURIComponent("throw new Error('out of luck')")}`;
    const open = () => new Worker(broken, { type: "module" });
    assert.equal(await heard(RelayThreads.open(sockets, 2, open)), undefined);
  },
);

Deno.test("clients of all threads relay to one another, also over TCP", { ignore }, async () => {
  await using relay = await threads({ userQuota: MANY + 1 });
  const clients = await clientsOf(relay, MANY, 1);
  const addresses = [];
  for (const client of clients) addresses.push(await client.allocate());
  for (const [i, client] of clients.entries()) {
    const to = (i + 1) % clients.length;
    // The answer to one that was refused would say so.
    await clients[to]!.permit(V4);
    const channel = await client.bind(addresses[to]!);
    await client.send(channel, utf8(`from ${i}`));
    const { peer, data } = await clients[to]!.received();
    assert.deepEqual(data, utf8(`from ${i}`));
    assert.equal(peer.port, addresses[i]!.port);
  }
  assert.match(
    await relay.metrics(),
    new RegExp(`^cairn_relay_hairpinned_packets_total ${MANY + 1}$`, "m"),
  );
});

Deno.test(
  "a client of another thread is known by the address that peers are told",
  { ignore },
  async () => {
    const told = parseIp("198.41.0.4")!;
    await using relay = await threads({ externalIps: [told], relayIps: [V4] });
    const [one, other] = [await relay.client(), await relay.client({ transport: "tcp" })];
    const addresses = [await one.allocate(), await other.allocate()] as const;
    const channels = [await one.bind(addresses[1]), await other.bind(addresses[0])] as const;
    await one.send(channels[0], utf8("there"));
    const there = await other.received();
    assert.deepEqual(there, { peer: addresses[0], data: utf8("there") });
    await other.send(channels[1], utf8("and back"));
    assert.deepEqual((await one.received()).data, utf8("and back"));
  },
);

Deno.test(
  "the quota of a user holds over all threads, and what ends is free on all",
  { ignore },
  async () => {
    await using relay = await threads({ userQuota: 4 });
    const clients = await clientsOf(relay, MANY, 2);
    let granted = 0;
    for (const client of clients) {
      const outcome = await client.allocate().then(() => "granted", ({ code }) => code);
      assert.equal(outcome, granted < 4 ? "granted" : 486);
      if (outcome === "granted") granted++;
    }
    for (const client of clients.slice(0, 4)) await client.release();
    // From the last on: other threads than before.
    for (const client of clients.slice(-4)) await client.allocateAnew();
  },
);

Deno.test("allocations of all threads together have a bound", { ignore }, async () => {
  const rate = { burst: 1e9, perSecond: 1e9 };
  await using relay = await threads({
    rates: { maxAllocations: 5, challengeRate: rate, bindingRate: rate, failureRate: rate },
  });
  const clients = await clientsOf(relay, MANY, 1);
  const outcomes = [];
  for (const client of clients) {
    outcomes.push(await client.allocate().then(() => 0, ({ code }) => code));
  }
  assert.deepEqual(outcomes, clients.map((_, i) => i < 5 ? 0 : 508));
});

Deno.test("the bandwidth of a user is that of all threads together", { ignore }, async () => {
  // 64 KiB at once, then 1 KiB a second.
  await using relay = await threads({ maxBitsPerSecond: 8_192 });
  const clients = await clientsOf(relay, 6, 0);
  const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  assert.ok(peer.addr.transport === "udp");
  for (const client of clients) {
    await client.allocate();
    const channel = await client.bind({ address: V4, port: peer.addr.port });
    // Three of these are what there is at once.
    for (let i = 0; i < 3; i++) await client.send(channel, new Uint8Array(21_000));
    await client.permit(V4);
  }
  const text = await relay.metrics();
  const bytes = Number(/relayed_bytes_total\{direction="to_peer"\} (\d+)/.exec(text)?.[1]);
  const dropped = Number(/dropped_total\{reason="bandwidth"\} (\d+)/.exec(text)?.[1]);
  assert.equal(bytes / 21_000 + dropped, 18);
  assert.ok(bytes >= 3 * 21_000 && bytes <= 8 * 21_000, `${bytes} went through`);
  peer.close();
});

Deno.test(
  "a source has so many answers without credentials from all threads together",
  { ignore },
  async () => {
    const burst = 5;
    await using relay = await threads({ rates: { challengeRate: { burst, perSecond: 1e-3 } } });
    const hostname = "127.0.0.1";
    const sockets = Array.from(
      { length: MANY },
      () => Deno.listenDatagram({ transport: "udp", hostname, port: 0 }),
    );
    const to = { transport: "udp", hostname, port: relay.port } as const;
    for (const socket of sockets) await socket.send(bareAllocate(), to);
    await relay.until(
      new RegExp(`^cairn_relay_dropped_total\\{reason="ratelimit"\\} ${MANY - burst}$`, "m"),
    );
    assert.match(await relay.metrics(), new RegExp(`^cairn_relay_unauth_401_total ${burst}$`, "m"));
    for (const socket of sockets) socket.close();
  },
);

Deno.test("2-AL-71 a reserved port is had from any thread, once", { ignore }, async () => {
  await using relay = await threads({ userQuota: 100 });
  for (
    const [from, to] of [["udp", "tcp"], ["tcp", "udp"], ["udp", "udp"], ["udp", "udp"]] as const
  ) {
    using first = await RawTurn.open(from, relay.port);
    const reserving = await first.allocate(PAIR);
    const token = reserving.get(AttributeType.ReservationToken)?.slice();
    assert.ok(token, "a token");
    assert.equal(relayedPort(reserving) % 2, 0);
    using second = await RawTurn.open(to, relay.port);
    const redeeming = await second.allocate([AttributeType.ReservationToken, token]);
    assert.equal(relayedPort(redeeming), relayedPort(reserving) + 1);
    using third = await RawTurn.open(to, relay.port);
    const late = await third.allocate([AttributeType.ReservationToken, token]);
    assert.equal(codeOf(late), 508);
  }
});

Deno.test(
  "a reserved port that was taken over relays, and is free when it ends",
  { ignore },
  async () => {
    const first = ownPorts();
    await using relay = await threads({
      relayPorts: { min: first, max: first + 1 },
      relayIps: [V4],
    });
    for (let round = 0; round < 3; round++) {
      using one = await RawTurn.open("udp", relay.port);
      const token = (await one.allocate(PAIR)).get(AttributeType.ReservationToken)!.slice();
      await relay.until(/^cairn_relay_relay_ports_free 0$/m);
      using other = await RawTurn.open("tcp", relay.port);
      const answer = await other.allocate([AttributeType.ReservationToken, token]);
      assert.equal(relayedPort(answer), first + 1);
      for (const client of [one, other]) {
        const lifetime: Attribute = [AttributeType.Lifetime, new Uint8Array(4)];
        assert.equal(codeOf(await client.request(Method.Refresh, lifetime)), undefined);
      }
      await relay.until(/^cairn_relay_relay_ports_free 2$/m);
      Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: first + 1 }).close();
    }
  },
);

Deno.test(
  "no two threads give the same port, and a full range is full on all",
  { ignore },
  async () => {
    const min = ownPorts();
    await using relay = await threads({ relayPorts: { min, max: min + MANY - 1 }, relayIps: [V4] });
    const clients = await clientsOf(relay, MANY, 1);
    const ports = await Promise.all(clients.slice(0, MANY).map((client) => client.allocate()));
    assert.equal(new Set(ports.map(({ port }) => port)).size, MANY);
    await assert.rejects(clients[MANY]!.allocate(), { code: 508 });
    await clients[0]!.release();
    await clients[MANY]!.allocateAnew();
  },
);

Deno.test("a reload reaches all threads", { ignore }, async () => {
  let policy = {
    users: [{ username: "user", password: "pass" }],
    restSecrets: [],
    allowPeers: [parsePrefix("127.0.0.0/8")!],
    denyPeers: [parsePrefix("192.0.2.0/24")!],
  };
  await using relay = await threads({ ...policy, reread: () => policy });
  const clients = await clientsOf(relay, MANY, 1);
  for (const client of clients) {
    await client.allocate();
    await client.permit(OTHER);
  }
  policy = { ...policy, users: [{ username: "other", password: "word" }], allowPeers: [] };
  relay.reload();
  // The pages are asked for after the rules, and answered after them.
  await relay.metrics();
  for (const client of clients) await client.indicate({ address: OTHER, port: 9 }, utf8("closed"));
  await relay.until(
    new RegExp(`dropped_total\\{reason="no_permission"\\} ${clients.length}$`, "m"),
  );
  for (let i = 0; i < 4; i++) {
    await assert.rejects((await relay.client()).allocate(), { code: 401 });
    await (await relay.client({ username: "other", password: "word" })).allocate();
  }
});

Deno.test("metrics are those of all threads together, each name once", { ignore }, async () => {
  await using relay = await threads({ userQuota: 100 });
  for (const client of await clientsOf(relay, MANY, 2)) await client.allocate();
  const text = await relay.metrics();
  for (const name of ["allocations", "allocated_total", "relay_ports"]) {
    assert.match(text, new RegExp(`^cairn_relay_${name} ${MANY + 2}$`, "m"));
  }
  // A client that was kept waiting has asked again.
  const challenges = Number(/^cairn_relay_unauth_401_total (\d+)$/m.exec(text)?.[1]);
  assert.ok(challenges >= MANY + 2, `${challenges} challenges`);
  assert.match(text, new RegExp(`^cairn_relay_errors_total\\{code="401"\\} ${challenges}$`, "m"));
  assert.match(text, /^cairn_relay_connections 2$/m);
  for (const name of text.matchAll(/^# TYPE (\S+)/gm)) {
    assert.equal(text.split(`# TYPE ${name[1]} `).length, 2, `${name[1]} is there once`);
  }
});

Deno.test("an ending relay waits for the allocations of all threads, and grants nothing", {
  ignore,
}, async () => {
  await using relay = await threads({ drainTimeout: 60_000 });
  const clients = await clientsOf(relay, 4, 1);
  for (const client of clients) await client.allocate();
  const late = await clientsOf(relay, 4, 0);
  let isEnded = false;
  const ended = relay.close().then(() => isEnded = true);
  await relay.until(/^cairn_relay_draining 1$/m);
  for (const client of late) await assert.rejects(client.allocate(), { code: 508 });
  for (const client of clients) {
    assert.equal(isEnded, false);
    await client.release();
  }
  await ended;
  const again = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: relay.port });
  again.close();
});

function threads(options: Partial<RelayOptions> = {}) {
  return startedRelay(options, systemHost, 2);
}

/** So many clients over UDP, on whichever threads, and over TCP, on the first one. */
async function clientsOf(
  relay: Awaited<ReturnType<typeof threads>>,
  udp: number,
  tcp: number,
): Promise<WireClient[]> {
  const clients: WireClient[] = [];
  for (let i = 0; i < udp; i++) clients.push(await relay.client());
  for (let i = 0; i < Math.min(tcp, 2); i++) clients.push(await relay.client({ transport: "tcp" }));
  return clients;
}

function heard<T>(answer: Promise<T>): Promise<T> {
  return within(AbortSignal.timeout(WITHIN_MS), answer, () => "a thread's answer");
}

function relayedPort(answer: StunMessage): number {
  const value = answer.get(AttributeType.XorRelayedAddress);
  assert.ok(value, `refused: ${codeOf(answer)}`);
  return readU16(value, 2) ^ 0x2112;
}

function codeOf(answer: StunMessage): number | undefined {
  const value = answer.get(AttributeType.ErrorCode);
  return value && decodeErrorCode(value)?.code;
}
