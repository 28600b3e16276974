/*
 * What a stranger may try against a signaling server that stands on the open internet. After each
 * attempt the process runs, its memory is as before, and fifty other clients have noticed nothing.
 */

import assert from "node:assert/strict";
import { concatBytes, fromHex, u64, utf8 } from "../../src/base/bytes.ts";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { AttackedSignal, TOKEN } from "../support/attacked_signal.ts";
import { within } from "../support/deadline.ts";
import { Dice, mutated } from "../support/dice.ts";
import { localPortOf, type RawWebSocket } from "../support/raw_web_socket.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const MEBIBYTE = 1_048_576;
const SEED = 20_261_120;
const BINARY = 0x82;
const TEXT = 0x81;
const PING = 0x89;
const CLOSE = 0x88;
/** A garbage collector decides when memory is given back; what is sent at most is more than that. */
const MEMORY_MARGIN = 96 * MEBIBYTE;
/** The machine may get busy with other tests at any time; who is held up waits for seconds. */
const latencyMargin = (before: number) => 10 * before + 1_000;
/** For each attack, on a machine however slow. */
const WITHIN_MS = 120_000;
/** The system's tables and the memory of a process are read from /proc. */
const ignore = Deno.build.os !== "linux";
const tlsNote = hasOpenssl ? "" : " (SKIPPED: openssl is not installed)";
/** All attackers are on this machine, and there are more of them than may have one address. */
const MANY = { connectionsPerAddress: 2_000, connectionsPerMinute: 100_000 };
/** Attackers are soon cut off, and honest clients of a machine that stands still are not. */
const HASTY = { ...MANY, handshakeTimeout: 3_000 };

for (const tls of [false, true]) {
  const how = tls ? `over TLS${tlsNote}` : "over TCP";
  const options = { ignore: ignore || tls && !hasOpenssl };

  Deno.test(
    `a reader that never reads ${how} is gone, and nobody else waits`,
    options,
    async () => {
      await using certificate = tls ? await makeSelfSigned() : undefined;
      await using signal = await AttackedSignal.start({}, certificate);
      const before = await signal.medianLatency(10);
      const memoryBefore = signal.peakMemory();
      using stalled = await signal.raw();
      const port = stalled.localPort;
      await stalled.send(BINARY, subscribe("flood"));
      const frame = relay("flood", new Uint8Array(60_000));
      const times: number[] = [];
      const deadline = performance.now() + WITHIN_MS;
      assert.ok(signal.connections().has(port));
      for (let i = 0; signal.connections().has(port); i++) {
        assert.ok(performance.now() < deadline, "its connection is gone in the end");
        assert.ok(
          i < 40 * signal.crowd.length,
          "it is dropped before the others reach their limits",
        );
        signal.crowd[i % signal.crowd.length]!.send(frame);
        if (i % 40 === 0) times.push(await signal.medianLatency(1));
      }
      assert.equal((await stalled.readToEnd()).end, "reset");
      times.sort((a, b) => a - b);
      const during = times[Math.floor(times.length / 2)] ?? NaN;
      assert.ok(during < latencyMargin(before), `${during} ms each, ${before} before`);
      const more = signal.peakMemory() - memoryBefore;
      assert.ok(more < MEMORY_MARGIN, `${more} bytes more`);
      await signal.stands();
    },
  );

  Deno.test(`a request that dribbles ${how} is cut off`, options, async () => {
    await using certificate = tls ? await makeSelfSigned() : undefined;
    await using signal = await AttackedSignal.start(
      HASTY,
      certificate,
    );
    await unnoticed(signal, async () => {
      const request = utf8(
        `GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
          `X-Filler: ${"x".repeat(6_000)}`,
      );
      await dribble(signal, request, () => signal.stranger());
    });
  });

  Deno.test(`connections that say nothing ${how} are cut off`, options, async () => {
    await using certificate = tls ? await makeSelfSigned() : undefined;
    await using signal = await AttackedSignal.start(
      HASTY,
      certificate,
    );
    await unnoticed(signal, async () => {
      const silent = await connectMany(signal, 300);
      await signal.gone(new Set(silent.map(localPortOf)));
      for (const connection of silent) connection.close();
    });
  });
}

Deno.test(`a TLS handshake that dribbles is cut off${tlsNote}`, {
  ignore: ignore || !hasOpenssl,
}, async () => {
  await using certificate = await makeSelfSigned();
  await using signal = await AttackedSignal.start(
    HASTY,
    certificate,
  );
  await unnoticed(signal, async () => {
    // A record of 16 KiB with a ClientHello that fills it.
    const hello = concatBytes(fromHex("160301400001003ffc0303"), new Uint8Array(6_000));
    const { port } = signal;
    await dribble(signal, hello, () => Deno.connect({ hostname: "127.0.0.1", port }));
  });
});

Deno.test("a message of 1 MiB costs its sender the connection", { ignore }, async () => {
  await using signal = await AttackedSignal.start();
  await unnoticed(signal, async () => {
    const client = await signal.client();
    client.send(relay("big", new Uint8Array(MEBIBYTE)));
    assert.equal((await client.closed).code, 1009);
    await endsWhen(signal, async (raw) => {
      // A length of 2^62, of which nothing ever comes.
      await raw.write(concatBytes(Uint8Array.of(BINARY, 0xff), u64(2n ** 62n), new Uint8Array(4)));
    });
    await endsWhen(signal, async (raw) => {
      await raw.send(0x02, new Uint8Array(60_000));
      for (let i = 0; i < 20; i++) await raw.send(0x00, new Uint8Array(60_000));
    });
  });
});

Deno.test("topics of 1 MiB, and of 60 KB, are not kept", { ignore }, async () => {
  await using signal = await AttackedSignal.start();
  await unnoticed(signal, async () => {
    const client = await signal.client();
    client.send(subscribe("t".repeat(MEBIBYTE)));
    assert.equal((await client.closed).code, 1009);
    const patient = await signal.client();
    for (let i = 0; i < 30; i++) patient.send(subscribe(`${i}`.padEnd(60_000, "t")));
    assert.notEqual((await patient.closed).code, 1005);
  });
});

Deno.test("10,000 subscribes cost their sender the connection", { ignore }, async () => {
  await using signal = await AttackedSignal.start();
  await unnoticed(signal, async () => {
    const client = await signal.client();
    for (let i = 0; i < 10_000; i++) client.send(subscribe(`topic ${i}`));
    assert.ok((await client.closed).code >= 1006);
  });
});

Deno.test("a client that answers no ping is gone from the system's table", { ignore }, async () => {
  await using signal = await AttackedSignal.start({ pingInterval: 1_500 });
  await unnoticed(signal, async () => {
    using mute = await signal.raw();
    await mute.send(BINARY, subscribe("mute"));
    await signal.gone(new Set([mute.localPort]));
    assert.equal((await mute.readToEnd()).end, "reset");
  });
});

Deno.test(
  "pings whose answers nobody reads fill no memory, and end their sender",
  { ignore },
  async () => {
    await using signal = await AttackedSignal.start({
      pingInterval: 1_500,
      messagesPerSecond: 1_000_000,
      bytesPerSecond: 1_000_000_000,
    });
    await unnoticed(signal, async () => {
      using flooder = await signal.raw();
      const ping = concatBytes(Uint8Array.of(PING, 0x80 | 125), new Uint8Array(4 + 125));
      const pings = concatBytes(...Array.from({ length: 500 }, () => ping));
      const flood = (async () => {
        for (let sent = 0; sent < 128 * MEBIBYTE; sent += pings.length) await flooder.write(pings);
      })().catch(() => {});
      await signal.gone(new Set([flooder.localPort]));
      await flood;
    });
  },
);

for (const dialect of ["CBOR", "JSON"] as const) {
  Deno.test(`fuzzed ${dialect} frames end at most their sender (seed ${SEED})`, {
    ignore,
  }, async () => {
    await using signal = await AttackedSignal.start(MANY);
    await unnoticed(signal, async () => {
      const dice = new Dice(SEED);
      const seeds = dialect === "CBOR" ? CBOR_FRAMES : JSON_FRAMES;
      for (let connection = 0; connection < 100; connection++) {
        await endsOrLeaves(signal, async (raw) => {
          for (let i = 0; i < 40; i++) {
            await raw.send(dialect === "CBOR" ? BINARY : TEXT, mutated(dice, seeds));
          }
        });
      }
    });
  });
}

Deno.test(`bytes that are no WebSocket end at most their sender (seed ${SEED})`, {
  ignore,
}, async () => {
  await using signal = await AttackedSignal.start(MANY);
  await unnoticed(signal, async () => {
    const dice = new Dice(SEED);
    for (let connection = 0; connection < 200; connection++) {
      const isHandshake = connection % 2 === 0;
      const bytes = isHandshake
        ? mutated(dice, [HANDSHAKE])
        : concatBytes(HANDSHAKE, dice.bytes(1 + dice.below(2_000)));
      await saysAndLeaves(signal, bytes);
    }
  });
});

/** Runs an attack; the server stands after it, no larger than before, and as fast for the others. */
async function unnoticed(signal: AttackedSignal, attack: () => Promise<void>): Promise<void> {
  const before = await signal.medianLatency(4);
  const memoryBefore = signal.peakMemory();
  const deadline = AbortSignal.timeout(WITHIN_MS);
  await within(deadline, attack(), () => "the end of the attack");
  const after = await signal.medianLatency(4);
  assert.ok(after < latencyMargin(before), `${after} ms each, ${before} before`);
  const more = signal.peakMemory() - memoryBefore;
  assert.ok(more < MEMORY_MARGIN, `${more} bytes more`);
  await signal.stands();
}

/** A connection that the server must end because of what `attack` sends. */
async function endsWhen(
  signal: AttackedSignal,
  attack: (raw: RawWebSocket) => Promise<void>,
): Promise<void> {
  using raw = await signal.raw();
  await attack(raw).catch(() => {});
  await raw.readToEnd();
}

/** A connection that says goodbye after the attack, if the server has not ended it by then. */
async function endsOrLeaves(
  signal: AttackedSignal,
  attack: (raw: RawWebSocket) => Promise<void>,
): Promise<void> {
  await endsWhen(signal, async (raw) => {
    await attack(raw);
    await raw.send(CLOSE, Uint8Array.of(0x03, 0xe8));
  });
}

/** Sends bytes and then nothing more, and waits until the server has read them all. */
async function saysAndLeaves(signal: AttackedSignal, bytes: Uint8Array): Promise<void> {
  const [stranger] = await connectMany(signal, 1);
  assert.ok(stranger);
  try {
    await stranger.write(bytes);
    await stranger.closeWrite();
    const buffer = new Uint8Array(4_096);
    while (await stranger.read(buffer) !== null);
  } catch (error) {
    if (
      !(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)
    ) {
      throw error;
    }
  } finally {
    stranger.close();
  }
}

/** Eight strangers say `bytes` one by one, and are gone before they come to the end. */
async function dribble(
  signal: AttackedSignal,
  bytes: Uint8Array,
  connect: () => Promise<Deno.Conn>,
): Promise<void> {
  const dribblers = await Promise.all(Array.from({ length: 8 }, connect));
  let said = 0;
  await signal.gone(new Set(dribblers.map(localPortOf)), async () => {
    assert.ok(said < bytes.length, "it ends before the bytes do");
    const byte = bytes.subarray(said, ++said);
    await Promise.all(dribblers.map((dribbler) => dribbler.write(byte).catch(() => {})));
  });
  for (const dribbler of dribblers) dribbler.close();
}

function connectMany(signal: AttackedSignal, count: number): Promise<Deno.TcpConn[]> {
  const { port } = signal;
  return Promise.all(
    Array.from({ length: count }, () => Deno.connect({ hostname: "127.0.0.1", port })),
  );
}

function subscribe(topic: string): Uint8Array {
  return encodeSignalFrame({ kind: "Subscribe", topic });
}

function relay(topic: string, payload: Uint8Array): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload });
}

const CBOR_FRAMES = [
  subscribe("fuzz"),
  encodeSignalFrame({ kind: "Unsubscribe", topic: "fuzz" }),
  relay("fuzz", Uint8Array.of(1, 2, 3)),
];
const JSON_FRAMES = [
  '{"type":"publish","topic":"fuzz","payload":"AQID"}',
  '{"type":"query","topic":"fuzz"}',
  '{"type":"announce","topic":"fuzz","peer_id":"00ff","addresses":["0a0b","1.2.3.4:5"]}',
].map(utf8);
const HANDSHAKE = utf8(
  "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
    `Authorization: Bearer ${TOKEN}\r\n\r\n`,
);
