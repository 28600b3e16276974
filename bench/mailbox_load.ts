// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * How fast stores take messages of 1 KiB in: each of 1, 8 and 64 senders waits for the
 * acknowledgement of one message before it gives the next. The stores are processes on loopback and
 * take turns in every round; the senders are in this process. Needs Debian's redis-server and
 * nats-server.
 *
 * `deno run -A bench/mailbox_load.ts [seconds for each line, default 4] [rounds, default 3]`
 */

import { WebSocket } from "ws";
import { systemHost } from "../src/base/host.ts";
import { cpuMs, reportLine } from "./measured_times.ts";
import { cpuSeconds } from "./support/process_usage.ts";
import { type RunningStore, STORES } from "./support/store_servers.ts";

const SECONDS = Number(Deno.args[0] ?? 4);
const ROUNDS = Number(Deno.args[1] ?? 3);
const WARM_UP_SECONDS = 1;
// The built-in client holds small frames back for 40 ms (no TCP_NODELAY); the server is measured here.
Object.assign(globalThis, { WebSocket });
const BODY = systemHost.random(1_024);

for (const { name, durability } of STORES) console.log(`${name}: ${durability}`);
for (const senders of [1, 8, 64]) {
  console.log(`\n${senders} ${senders === 1 ? "sender" : "senders"}`);
  const rates = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of STORES) {
      const folder = await Deno.makeTempDir({ prefix: "cairn-bench-" });
      const store = await kind.start(folder, senders);
      try {
        await load(store, WARM_UP_SECONDS);
        const { line, rate } = describe(kind.name, await load(store, SECONDS));
        console.log(line);
        rates.set(kind.name, [...rates.get(kind.name) ?? [], rate]);
      } finally {
        await store.stop();
        await Deno.remove(folder, { recursive: true });
      }
    }
  }
  const best = [...rates].map(([name, all]) => `${name} ${median(all).toFixed(0)}`);
  console.log(`median per second: ${best.join(", ")}`);
}

interface Loaded {
  readonly times: readonly number[];
  readonly seconds: number;
  readonly serverCpuMs: number;
  readonly clientCpuMs: number;
}

async function load({ pid, clients }: RunningStore, seconds: number): Promise<Loaded> {
  const times: number[] = [];
  const [client, server, start] = [cpuMs(), cpuSeconds(pid), performance.now()];
  const end = start + seconds * 1_000;
  await Promise.all(clients.map(async (each) => {
    while (performance.now() < end) {
      const before = performance.now();
      await each.store(BODY);
      times.push(performance.now() - before);
    }
  }));
  return {
    times,
    seconds: (performance.now() - start) / 1_000,
    serverCpuMs: 1_000 * (cpuSeconds(pid) - server),
    clientCpuMs: cpuMs() - client,
  };
}

function describe(
  name: string,
  { times, seconds, serverCpuMs, clientCpuMs }: Loaded,
): { line: string; rate: number } {
  const rate = times.length / seconds;
  const cost = (ms: number) => (ms / times.length).toFixed(3);
  return {
    rate,
    line: `${reportLine(name, times)}  ${rate.toFixed(0).padStart(6)} per second, CPU each: ` +
      `server ${cost(serverCpuMs)} ms, client ${cost(clientCpuMs)} ms`,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
