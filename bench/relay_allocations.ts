// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * What an allocation costs cairn's relay, and coturn beside it: how many a second are granted (each
 * from a socket and an address of its own, with the refusal that brings the nonce before), CPU of
 * the server for each, and memory that it keeps for each while it lasts.
 *
 *     taskset -c 1 deno run -A bench/relay_allocations.ts [--count=2000] [--rounds=3] [--workers=1]
 *         [--cores=0]
 *
 * Linux only; needs taskset, and turnserver for the comparison.
 */

import { MessageClass } from "../src/protocol/stun/message.ts";
import { RawTurn } from "../tests/support/raw_turn.ts";
import { cpuSeconds, residentBytes } from "./support/process_usage.ts";
import { cairn, coturn, startTurnServer, type TurnServerKind } from "./support/turn_servers.ts";

/** Clients that ask at a time. */
const AT_A_TIME = 32;
/** What the first of them cost is the start of the program. */
const WARM_UP = 500;

interface Measured {
  readonly perSecond: number;
  /** Microseconds of CPU of the server, and of this load, for each. */
  readonly cost: number;
  readonly ownCost: number;
  /** Bytes for each. */
  readonly memory: number;
  /** Bytes before the first. */
  readonly base: number;
}

const argument = (name: string) =>
  Deno.args.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
const count = Number(argument("count") ?? 2_000);
const rounds = Number(argument("rounds") ?? 3);
const workers = Number(argument("workers") ?? 1);
const cores = argument("cores") ?? "0";
const kinds = [cairn, coturn];

const folder = await Deno.makeTempDir({ prefix: "cairn-relay-allocations-" });
const results = new Map<string, Measured[]>();
try {
  for (let round = 0; round < rounds; round++) {
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
      const measured = await measure(kind);
      results.set(kind.name, [...results.get(kind.name) ?? [], measured]);
      print(kind.name, measured);
    }
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
console.log("\nmedians");
for (const [name, all] of results) {
  const median = (read: (one: Measured) => number) =>
    all.map(read).sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? NaN;
  print(name, {
    perSecond: median(({ perSecond }) => perSecond),
    cost: median(({ cost }) => cost),
    ownCost: median(({ ownCost }) => ownCost),
    memory: median(({ memory }) => memory),
    base: median(({ base }) => base),
  });
}

async function measure(kind: TurnServerKind): Promise<Measured> {
  await using server = await startTurnServer(kind, { cores, folder, workers });
  using clients = new DisposableStack();
  const base = residentBytes(server.pid);
  await allocate(server.port, 0, WARM_UP, clients);
  const [cpu, memory, own, start] = [
    cpuSeconds(server.pid),
    residentBytes(server.pid),
    cpuSeconds(Deno.pid),
    performance.now(),
  ];
  await allocate(server.port, WARM_UP, count, clients);
  const seconds = (performance.now() - start) / 1_000;
  return {
    perSecond: count / seconds,
    cost: (cpuSeconds(server.pid) - cpu) / count * 1e6,
    ownCost: (cpuSeconds(Deno.pid) - own) / count * 1e6,
    memory: (residentBytes(server.pid) - memory) / count,
    base,
  };
}

async function allocate(
  port: number,
  first: number,
  count: number,
  clients: DisposableStack,
): Promise<void> {
  let next = first;
  const one = async () => {
    while (next < first + count) {
      const number = next++;
      const from = `127.1.${number >> 8}.${number & 0xff}`;
      const client = clients.use(await RawTurn.open("udp", port, from));
      const answer = await client.allocate();
      if (answer.messageClass !== MessageClass.Success) {
        throw new Error("An allocation was refused");
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, one));
}

function print(name: string, { perSecond, cost, ownCost, memory, base }: Measured): void {
  console.log(
    `${name}: ${perSecond.toFixed(0)} allocations/s, ${cost.toFixed(0)} µs of CPU each, ` +
      `${(memory / 1_024).toFixed(1)} KiB each beside ${(base / 1e6).toFixed(0)} MB; ` +
      `the load ${ownCost.toFixed(0)} µs each`,
  );
}
