// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * How fast stores take messages of 1 KiB in: each of 1, 8 and 64 senders waits for the
 * acknowledgement of one message before it gives the next. The stores are processes on loopback and
 * take turns in every round; the senders are in this process. Needs Debian's redis-server and
 * nats-server.
 *
 * `deno run -A bench/mailbox_load.ts [seconds for each line, default 4] [rounds, default 3]`
 */

import { systemHost } from "../src/base/host.ts";
import { cpuMs, reportLine } from "./measured_times.ts";
import { serveSockets } from "./support/epoll_sockets.ts";
import { cpuSeconds } from "./support/process_usage.ts";
import { type RunningStore, STORES } from "./support/store_servers.ts";

const SECONDS = Number(Deno.args[0] ?? 4);
const ROUNDS = Number(Deno.args[1] ?? 3);
const WARM_UP_SECONDS = 1;
/** Messages made ready for the warm-up, all senders together. */
const WARM_UP_MESSAGES = 40_000;
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
        const warm = await load(store, WARM_UP_SECONDS, WARM_UP_MESSAGES);
        const expected = (SECONDS * warm.times.length) / warm.seconds;
        const { line, rate } = describe(kind.name, await load(store, SECONDS, 2 * expected));
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

/** Gives for so long, or until a sender has given its part of `prepared` messages. */
async function load(
  { pid, clients }: RunningStore,
  seconds: number,
  prepared: number,
): Promise<Loaded> {
  for (const each of clients) each.prepare(BODY, Math.ceil(prepared / clients.length));
  const times: number[] = [];
  const [client, server, start] = [cpuMs(), cpuSeconds(pid), performance.now()];
  const end = start + seconds * 1_000;
  let [underWay, isOver] = [0, false];
  for (const each of clients) {
    let before = 0;
    const give = () => {
      isOver ||= !each.give();
      if (isOver) return;
      underWay++;
      before = performance.now();
    };
    each.onAcknowledged = () => {
      const now = performance.now();
      underWay--;
      times.push(now - before);
      isOver ||= now > end;
      if (!isOver) give();
    };
    give();
  }
  if (!await serveSockets(() => isOver && underWay === 0, (seconds + 30) * 1_000)) {
    throw new Error("Messages were not acknowledged");
  }
  const loaded = {
    times,
    seconds: (performance.now() - start) / 1_000,
    serverCpuMs: 1_000 * (cpuSeconds(pid) - server),
    clientCpuMs: cpuMs() - client,
  };
  for (const each of clients) each.check();
  return loaded;
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
