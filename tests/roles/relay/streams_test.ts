import assert from "node:assert/strict";
import { parseIp } from "../../../src/base/address.ts";
import { concatBytes, utf8 } from "../../../src/base/bytes.ts";
import { MessageClass } from "../../../src/protocol/stun/message.ts";
import { RELAY_LIMITS } from "../../../src/roles/relay/relay_options.ts";
import { within } from "../../support/deadline.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { FrameReader } from "../../support/frame_reader.ts";
import { untilHolds } from "../../support/rested.ts";
import { hasOpenssl, makeSelfSigned } from "../../support/self_signed.ts";
import { startedRelay } from "../../support/started_relay.ts";
import { bareAllocate, bindingRequest, paddedChannelData } from "../../support/stun_bytes.ts";

const V4 = parseIp("127.0.0.1")!;
const WITHIN_MS = 120_000;

Deno.test("2-TCP-28 a request that comes byte by byte is answered like one that comes at once", async () => {
  await using relay = await startedRelay();
  using connection = await FrameReader.open(relay.port);
  for (const byte of bindingRequest()) await connection.write(Uint8Array.of(byte));
  assert.equal((await connection.message()).messageClass, MessageClass.Success);
});

Deno.test("2-TCP-29 messages that come in one segment are all answered, in order", async () => {
  await using relay = await startedRelay();
  using connection = await FrameReader.open(relay.port);
  const requests = Array.from({ length: 20 }, bindingRequest);
  await connection.write(concatBytes(...requests));
  for (const request of requests) {
    const { transactionId } = await connection.message();
    assert.deepEqual(transactionId, request.subarray(8, 20));
  }
});

Deno.test("2-TCP-30 ChannelData is padded on a stream, in both directions", async () => {
  await using relay = await startedRelay();
  const client = await relay.client({ transport: "tcp" });
  const relayed = await client.allocate();
  const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  try {
    assert.ok(peer.addr.transport === "udp");
    const channel = await client.bind({ address: V4, port: peer.addr.port });
    const texts = Array.from({ length: 8 }, (_, length) => utf8("datagram".slice(0, length)));
    await client.sendBytes(concatBytes(...texts.map((data) => paddedChannelData(channel, data))));
    for (const data of texts) assert.deepEqual((await peer.receive())[0], data);
    const to = { transport: "udp", hostname: "127.0.0.1", port: relayed.port } as const;
    for (const data of texts) {
      await peer.send(data, to);
      assert.deepEqual((await client.received()).data, data);
      assert.equal(client.lastLength, 4 + data.length + (-data.length & 3));
    }
  } finally {
    peer.close();
  }
});

for (const first of [0x50, 0x80, 0xff]) {
  Deno.test(`2-TCP-32 a stream that goes on with 0x${first.toString(16)} is closed`, async () => {
    await using relay = await startedRelay();
    using connection = await FrameReader.open(relay.port);
    await connection.write(bindingRequest());
    await connection.message();
    await connection.write(Uint8Array.of(first, 0, 0, 0));
    await connection.isClosed();
  });
}

Deno.test("2-TCP-33 who has no allocation cannot begin a message of 64 KiB", async () => {
  await using relay = await startedRelay();
  using connection = await FrameReader.open(relay.port);
  const header = bareAllocate().slice(0, 20);
  header.set([0xff, 0xfc], 2);
  await connection.write(header);
  await connection.isClosed();
});

Deno.test("2-TCP-34 a connection that ends takes its allocation along", async () => {
  await using relay = await startedRelay({ userQuota: 1 });
  const client = await relay.client({ transport: "tcp" });
  await client.allocate();
  const other = await relay.client({ transport: "tcp" });
  await assert.rejects(other.allocate(), { code: 486 });
  client.close();
  await client.ended;
  await relay.until(/^cairn_relay_allocations 0$/m);
  await other.allocateAnew();
});

Deno.test("2-TCP-35 a connection without allocation that says nothing is closed", async () => {
  using time = new FakeTime();
  await using relay = await startedRelay({ limits: { idleTimeout: 1_000 } }, time);
  const client = await relay.client({ transport: "tcp" });
  await client.allocate();
  using silent = await FrameReader.open(relay.port);
  using dribbling = await FrameReader.open(relay.port);
  await hasConnections(relay, 3);
  for (const byte of bareAllocate().subarray(0, 4)) {
    await dribbling.write(Uint8Array.of(byte));
    await turns();
    time.pass(300);
  }
  await silent.isClosed();
  await dribbling.isClosed();
  // Whoever has an allocation may be silent.
  await client.permit(V4);
});

Deno.test("2-TCP-35 an address has so many connections at a time", async () => {
  await using relay = await startedRelay({ limits: { connectionsPerAddress: 3 } });
  const first = [];
  for (let i = 0; i < 3; i++) {
    const connection = await FrameReader.open(relay.port);
    await connection.write(bindingRequest());
    await connection.message();
    first.push(connection);
  }
  await isRefused(relay.port);
  first[0]![Symbol.dispose]();
  await relay.until(/^cairn_relay_connections 2$/m);
  using next = await FrameReader.open(relay.port);
  await next.write(bindingRequest());
  await next.message();
  for (const connection of first.slice(1)) connection[Symbol.dispose]();
});

Deno.test("2-TCP-36 what a client does not read is dropped, and the client in the end too", async () => {
  await using relay = await startedRelay({ limits: { stallTimeout: 500, maxQueuedBytes: 20_000 } });
  using slow = await FrameReader.open(relay.port);
  const relayed = await slow.allocate();
  const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  assert.ok(peer.addr.transport === "udp");
  await slow.bind(V4, peer.addr.port);
  const to = { transport: "udp", hostname: "127.0.0.1", port: relayed } as const;
  const datagram = new Uint8Array(8_192);
  let isGone = false;
  const gone = relay.until(/ended_total\{reason="slow reader"\} 1$/m).then(() => isGone = true);
  while (!isGone) {
    await peer.send(datagram, to);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await gone;
  peer.close();
  assert.match(await relay.metrics(), /dropped_total\{reason="backpressure"\} [1-9]/);
  await relay.until(/^cairn_relay_allocations 0$/m);
});

for (const alpn of [["stun.turn"], undefined]) {
  Deno.test(`2-TCP-37 TLS is spoken with a client that offers ${alpn ?? "no"} protocol`, {
    ignore: !hasOpenssl,
  }, async () => {
    await using tls = await makeSelfSigned();
    await using relay = await startedRelay({ tls });
    const connection = await Deno.connectTls({
      hostname: "localhost",
      port: relay.tlsPort!,
      caCerts: [tls.cert],
      ...(alpn && { alpnProtocols: alpn }),
    });
    const { alpnProtocol } = await connection.handshake();
    assert.equal(alpnProtocol, alpn?.[0] ?? null);
    using reader = new FrameReader(connection);
    await reader.write(bindingRequest());
    assert.equal((await reader.message()).messageClass, MessageClass.Success);
  });
}

Deno.test({
  name: "2-TCP-37 garbage, silence and a foreign protocol on the TLS port end there",
  ignore: !hasOpenssl,
  async fn() {
    using time = new FakeTime();
    await using tls = await makeSelfSigned();
    await using relay = await startedRelay({ tls }, time);
    for (const bytes of [utf8("GET / HTTP/1.1\r\n\r\n"), new Uint8Array(3_000)]) {
      using connection = await FrameReader.open(relay.tlsPort!);
      await connection.write(bytes);
      await connection.isClosed();
    }
    using silent = await FrameReader.open(relay.tlsPort!);
    await hasConnections(relay, 1);
    time.pass(RELAY_LIMITS.idleTimeout + 5_000);
    await silent.isClosed();
    const foreign = Deno.connectTls({
      hostname: "localhost",
      port: relay.tlsPort!,
      caCerts: [tls.cert],
      alpnProtocols: ["h2"],
    }).then((connection) => connection.handshake().finally(() => connection.close()));
    await assert.rejects(foreign);
    const client = await relay.client({ transport: "tls", caCert: tls.cert });
    await client.allocate();
  },
});

Deno.test("a client that ends its side of the connection is gone", async () => {
  await using relay = await startedRelay();
  using connection = await FrameReader.open(relay.port);
  await connection.allocate();
  await connection.closeWrite();
  await within(AbortSignal.timeout(WITHIN_MS), connection.isClosed(), () => "the end");
  await relay.until(/^cairn_relay_allocations 0$/m);
});

Deno.test("the limits of connections are those of the checklist", () => {
  assert.equal(RELAY_LIMITS.idleTimeout, 30_000);
  assert.equal(RELAY_LIMITS.connectionsPerAddress, 64);
});

/** Waits until the relay has so many, also where the clocks are fake. */
async function hasConnections(
  { metrics }: { metrics: () => Promise<string> },
  count: number,
): Promise<void> {
  const line = new RegExp(`^cairn_relay_connections ${count}$`, "m");
  await untilHolds(async () => line.test(await metrics()), () => `${count} connections`);
}

/** A connection there is reset, at once or as soon as it is used. */
async function isRefused(port: number): Promise<void> {
  try {
    using connection = await FrameReader.open(port);
    await connection.isClosed();
  } catch (error) {
    assert.ok(error instanceof Deno.errors.ConnectionReset);
  }
}
