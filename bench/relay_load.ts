// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * cairn's relay beside coturn from Debian's package, in one run on one machine: how many packets a
 * second each relays at no more than 0.1 % loss, and what a packet costs. The server is on core 0
 * (or on those of `--cores`), the load on core 1; the servers take turns, in the other order each second round.
 *
 *     taskset -c 1 deno run -A bench/relay_load.ts [--quick] [--sizes=160,1200] [--only=cairn]
 *         [--rates=10000,20000] [--directions=both] [--rounds=3] [--sessions=10]
 *         [--wrapping=channels|indications|"relay to relay"] [--workers=2 --cores=0,1]
 *
 * Linux only. Needs taskset and a C compiler, and turnserver for the comparison; of our engines,
 * `cairn` is the batching one, and `--only=portable` names the other.
 */

import { cpuSeconds, residentBytes } from "./support/process_usage.ts";
import {
  cairn,
  coturn,
  portableCairn,
  startTurnServer,
  type TurnServerKind,
} from "./support/turn_servers.ts";
import { type Direction, TurnLoad, type Wrapping } from "./support/turn_load.ts";

const MAX_LOSS = 0.001;
/** A load that sends less than this part of what it should is itself the bottleneck. */
const LOAD_KEEPS_UP = 0.98;
const DIRECTIONS: readonly Direction[] = ["to peers", "to clients", "both"];
const WRAPPINGS: readonly Wrapping[] = ["channels", "indications", "relay to relay"];
const RATES = [5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500].map((k) =>
  k * 1000
);
/** After so many rates in a row with losses the search ends. */
const GIVE_UP_AFTER = 2;

interface Measured {
  readonly rate: number;
  readonly loss: number;
  /** Microseconds of CPU for each packet that arrived. */
  readonly cost: number;
  /** Part of one core. */
  readonly load: number;
  /** Microseconds of CPU of the load for each packet that arrived. */
  readonly ownCost: number;
  readonly keptUp: boolean;
}

const argument = (name: string) =>
  Deno.args.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
const quick = Deno.args.includes("--quick");
const only = argument("only")?.split(",");
const rounds = Number(argument("rounds") ?? (quick ? 1 : 3));
const seconds = Number(argument("seconds") ?? (quick ? 1 : 2));
const sessions = Number(argument("sessions") ?? 10);
const sizes = (argument("sizes") ?? "160,1200").split(",").map(Number);
const rates = argument("rates")?.split(",").map(Number) ?? RATES;
const directions = argument("directions")
  ? DIRECTIONS.filter((direction) => argument("directions")?.split(",").includes(direction))
  : DIRECTIONS;
const workers = Number(argument("workers") ?? 1);
const cores = argument("cores") ?? "0";
const wrapping = WRAPPINGS.find((name) => name === argument("wrapping")) ?? "channels";
const kinds = [cairn, coturn, portableCairn]
  .filter(({ name }) => only?.includes(name) ?? name !== "portable");
const results = new Map<string, Measured[][]>();

const folder = await Deno.makeTempDir({ prefix: "cairn-relay-load-" });
try {
  for (const size of sizes) {
    for (let round = 0; round < rounds; round++) {
      for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) await measure(kind, size);
    }
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
summarize();

async function measure(kind: TurnServerKind, size: number): Promise<void> {
  await using server = await startTurnServer(kind, { cores, folder, workers });
  using load = await TurnLoad.open(server.port, { count: sessions, size, wrapping, folder });
  // The runtime compiles what is used often.
  await load.run("both", 20_000, 1);
  for (const direction of directions) {
    const steps: Measured[] = [];
    let lossy = 0;
    for (const rate of rates) {
      const before = cpuSeconds(server.pid);
      const { sent, received, seconds: took, ownSeconds } = await load.run(
        direction,
        rate,
        seconds,
      );
      const cpu = cpuSeconds(server.pid) - before;
      const step = {
        rate: Math.round(received / took),
        loss: sent === 0 ? 1 : Math.max(0, 1 - received / sent),
        cost: cpu / received * 1e6,
        load: cpu / took,
        ownCost: ownSeconds / received * 1e6,
        keptUp: sent / took >= rate * LOAD_KEEPS_UP,
      };
      steps.push(step);
      print(`${kind.name} ${size} B ${direction} at ${rate}`, step);
      lossy = step.loss > MAX_LOSS ? lossy + 1 : 0;
      if (lossy >= GIVE_UP_AFTER || !step.keptUp) break;
    }
    const key = `${size} B | ${direction} | ${kind.name}`;
    results.set(key, [...results.get(key) ?? [], steps]);
  }
  console.log(`${kind.name}: ${Math.round(residentBytes(server.pid) / 1e6)} MB of memory`);
}

function print(name: string, { rate, loss, cost, load, ownCost, keptUp }: Measured): void {
  console.log(
    `${name}: ${rate}/s, ${(loss * 100).toFixed(3)} % lost, ${cost.toFixed(2)} µs each, ` +
      `${(load * 100).toFixed(0)} % of a core; the load ${ownCost.toFixed(2)} µs each` +
      `${keptUp ? "" : " and cannot send more"}`,
  );
}

/** The best rate of each round within the loss allowed, and the median of the rounds. */
function summarize(): void {
  console.log("\n| packets | direction | server | packets/s | µs of CPU each | of a core |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const [key, runs] of results) {
    const best = runs.flatMap((steps) =>
      steps.filter(({ loss }) => loss <= MAX_LOSS).sort((a, b) => b.rate - a.rate)[0] ?? []
    ).sort((a, b) => a.rate - b.rate);
    const median = best[Math.floor(best.length / 2)];
    const range = `${best[0]?.rate ?? 0} to ${best.at(-1)?.rate ?? 0}`;
    console.log(
      `| ${key} | ${median?.rate ?? 0} (${range}) | ${median?.cost.toFixed(2)} | ` +
        `${((median?.load ?? 0) * 100).toFixed(0)} % |`,
    );
  }
}
