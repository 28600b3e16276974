/*
 * What a stranger may try against a relay that stands on the open internet. After each attempt the
 * process runs, its memory is as before, and other clients have noticed nothing.
 */

import assert from "node:assert/strict";
import { parseIp } from "../../src/base/address.ts";
import { AttackedRelay } from "../support/attacked_relay.ts";
import { FrameReader } from "../support/frame_reader.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { bareAllocate } from "../support/stun_bytes.ts";

const MEBIBYTE = 1_048_576;
/** A garbage collector decides when memory is given back. */
const MEMORY_MARGIN = 64 * MEBIBYTE;
/** For the end of a connection, on a machine however slow. */
const WITHIN_MS = 120_000;
/** Limits of a process are set by a shell, its memory is read from /proc. */
const ignore = Deno.build.os !== "linux";
const LOOPBACK = parseIp("127.0.0.1")!;

for (const transport of ["TCP", "TLS"] as const) {
  Deno.test(`a client over ${transport} that does not read loses packets, then its connection`, {
    ignore: ignore || !hasOpenssl,
  }, async () => {
    await using tls = await makeSelfSigned();
    await using relay = await AttackedRelay.start({ tls, limits: { stallTimeout: 1_000 } });
    const before = relay.peakMemory();
    using slow = transport === "TCP" ? await FrameReader.open(relay.port) : new FrameReader(
      await Deno.connectTls({
        hostname: "localhost",
        port: relay.tlsPort,
        caCerts: [tls.cert],
      }),
    );
    const relayed = await slow.allocate();
    const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    assert.ok(peer.addr.transport === "udp");
    await slow.bind(LOOPBACK, peer.addr.port);
    const to = { transport: "udp", hostname: "127.0.0.1", port: relayed } as const;
    const datagram = new Uint8Array(16_384);
    const deadline = performance.now() + WITHIN_MS;
    while (await relay.metric(SLOW_READERS) === 0) {
      assert.ok(performance.now() < deadline, "it is dropped for good");
      for (let i = 0; i < 50; i++) await peer.send(datagram, to);
      await relay.stands();
    }
    peer.close();
    await relay.until("connections", (count) => count === 0);
    await relay.until("allocations", (count) => count === 4);
    const more = relay.peakMemory() - before;
    assert.ok(more < MEMORY_MARGIN, `${more} bytes more`);
  });
}

const SLOW_READERS = 'connections_ended_total{reason="slow reader"}';
const IDLE = 'connections_ended_total{reason="idle"}';
const TOO_MANY = 'connections_ended_total{reason="too many connections"}';

Deno.test(
  "connections that come to say nothing, or byte by byte, are closed",
  { ignore },
  async () => {
    await using relay = await AttackedRelay.start({ limits: { idleTimeout: 1_000 } });
    const attackers = await Promise.all(
      Array.from({ length: 60 }, () => FrameReader.open(relay.port)),
    );
    const request = bareAllocate();
    for (let i = 0; await relay.metric(IDLE) < attackers.length; i++) {
      const byte = request.subarray(i % 19, i % 19 + 1);
      // Half of them dribble, and never end what they say.
      const dribbling = i < 19 ? attackers.slice(0, 30) : [];
      await Promise.all(dribbling.map((attacker) => attacker.write(byte).catch(() => {})));
      await relay.stands();
    }
    for (const attacker of attackers) attacker[Symbol.dispose]();
    await relay.stands();
  },
);

Deno.test("one address has 64 connections, however many it opens", { ignore }, async () => {
  await using relay = await AttackedRelay.start();
  const attackers = await Promise.allSettled(
    Array.from({ length: 500 }, () => FrameReader.open(relay.port)),
  );
  await relay.until(TOO_MANY, (count) => count >= 500 - 64);
  assert.ok(await relay.metric("connections") <= 64);
  await relay.stands();
  for (const attacker of attackers) {
    if (attacker.status === "fulfilled") attacker.value[Symbol.dispose]();
  }
  await relay.until("connections", (count) => count === 0);
});

Deno.test("without file descriptors left the relay refuses, and recovers", { ignore }, async () => {
  const maxFiles = 120;
  await using relay = await AttackedRelay.start({
    maxFiles,
    limits: { connectionsPerAddress: 1_000, idleTimeout: 10_000 },
  });
  const attackers = await Promise.allSettled(
    Array.from({ length: 200 }, () => FrameReader.open(relay.port)),
  );
  await relay.hasNoFileLeft(maxFiles);
  const client = await relay.client();
  await assert.rejects(client.allocate(), { code: 508 });
  for (const attacker of attackers) {
    if (attacker.status === "fulfilled") attacker.value[Symbol.dispose]();
  }
  await relay.until("connections", (count) => count === 0);
  await relay.stands();
  await (await relay.client()).allocate();
  // Who waited in the system's queue is reset when the relay listens again, or refused just before.
  for (let isServed = false; !isServed;) {
    const served = relay.client({ transport: "tcp" }).then((stream) => stream.allocate());
    isServed = await served.then(() => true, () => false);
  }
});

Deno.test("garbage in place of TLS, and handshakes that stop half-way, end there", {
  ignore: ignore || !hasOpenssl,
}, async () => {
  await using tls = await makeSelfSigned();
  await using relay = await AttackedRelay.start({ tls, limits: { idleTimeout: 2_000 } });
  const before = relay.peakMemory();
  for (let round = 0; round < 4; round++) {
    const attackers = await Promise.all(
      Array.from({ length: 50 }, () => FrameReader.open(relay.tlsPort)),
    );
    for (const [i, attacker] of attackers.entries()) {
      const bytes = crypto.getRandomValues(new Uint8Array(1 + i * 40));
      // What looks like the beginning of a handshake.
      if (i % 2 === 0) bytes.set([22, 3, 1, 0x40, 0].slice(0, bytes.length));
      await attacker.write(bytes).catch(() => {});
    }
    await relay.stands();
    await Promise.all(attackers.map((attacker) => attacker.isClosed()));
    for (const attacker of attackers) attacker[Symbol.dispose]();
  }
  await relay.until("connections", (count) => count === 0);
  const more = relay.peakMemory() - before;
  assert.ok(more < MEMORY_MARGIN, `${more} bytes more`);
  const client = await relay.client({ transport: "tls", caCert: tls.cert });
  await client.allocate();
});

Deno.test(
  "10,000 requests without credentials from 1,000 ports leave nothing behind",
  { ignore },
  async () => {
    await using relay = await AttackedRelay.start();
    const before = relay.peakMemory();
    const to = { transport: "udp", hostname: "127.0.0.1", port: relay.port } as const;
    for (let i = 0; i < 1_000; i++) {
      const hostname = `127.0.${1 + i % 200}.${1 + Math.floor(i / 200)}`;
      const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
      for (let request = 0; request < 10; request++) await socket.send(bareAllocate(), to);
      socket.close();
      if (i % 100 === 0) await relay.stands();
    }
    await relay.stands();
    assert.equal(await relay.metric("allocations"), 4);
    const more = relay.peakMemory() - before;
    assert.ok(more < MEMORY_MARGIN, `${more} bytes more`);
  },
);
