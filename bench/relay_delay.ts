// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * What a relay adds to the way of a packet while little goes on: from a client's ChannelData to its
 * peer, one packet at a time, after each of which everything comes to rest. The server is on core
 * 0, this on core 1. Linux only; needs taskset, and turnserver for the comparison.
 *
 *     taskset -c 1 deno run -A bench/relay_delay.ts [--workers=2]
 */

import { systemHost } from "../src/base/host.ts";
import { cpuSeconds } from "./support/process_usage.ts";
import { BatchSocket } from "./support/batch_sockets.ts";
import { Session } from "./support/turn_load.ts";
import { cairn, coturn, portableCairn, startTurnServer } from "./support/turn_servers.ts";

const SAMPLES = 400;
const SIZE = 160;
const WARM_UP = 5_000;
const REST_MS = 5;
const LOST_AFTER_MS = 200;

const workers = Number(
  Deno.args.find((text) => text.startsWith("--workers="))?.slice("--workers=".length) ?? 1,
);

const folder = await Deno.makeTempDir({ prefix: "cairn-relay-delay-" });
using one = new BatchSocket();
using other = new BatchSocket();
one.connect(other.port);
one.load(systemHost.random(SIZE));
await measure("no relay", one, other);
for (const kind of [cairn, coturn, portableCairn]) {
  await using server = await startTurnServer(kind, { cores: "0", folder, workers });
  using session = new Session();
  await session.allocate(server.port);
  await session.bind(session.peer.port, SIZE);
  const packet = new Uint8Array(session.prefix.length + SIZE);
  packet.set(session.prefix);
  session.client.load(packet);
  const before = cpuSeconds(server.pid);
  await measure(kind.name, session.client, session.peer);
  const cost = (cpuSeconds(server.pid) - before) / (WARM_UP + SAMPLES) * 1e6;
  console.log(`${kind.name}: ${cost.toFixed(0)} µs of CPU for a packet that comes alone`);
}
await Deno.remove(folder, { recursive: true });

async function measure(name: string, from: BatchSocket, to: BatchSocket): Promise<void> {
  const times: number[] = [];
  let lost = 0;
  // The runtime compiles what is used often.
  for (let i = 0; i < WARM_UP; i++) {
    from.send(1);
    await new Promise((resolve) => setTimeout(resolve, 0));
    while (to.receive() > 0);
  }
  for (let i = 0; i < SAMPLES; i++) {
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    while (to.receive() > 0);
    const start = performance.now();
    from.send(1);
    while (to.receive() === 0 && performance.now() - start < LOST_AFTER_MS);
    const took = performance.now() - start;
    if (took < LOST_AFTER_MS) times.push(took * 1_000);
    else lost++;
  }
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.floor(times.length * part)]?.toFixed(0);
  console.log(`${name}: p50 ${at(0.5)} µs, p90 ${at(0.9)} µs, p99 ${at(0.99)} µs, ${lost} lost`);
}
