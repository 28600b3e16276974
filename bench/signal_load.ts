// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Signaling servers side by side, in one run on one machine: cairn, `peer` and `y-webrtc` from npm,
 * `nats-server` and `mosquitto` from Debian's packages, each on its own runtime. All are on core 0,
 * the load is on core 1; they take turns, in the other order each second time.
 *
 *     deno run -A bench/signal_load.ts [--quick] [--only=cairn,peer] [--loads=exchange,idle]
 *         [--rounds=9: more of them even out what else the machine does]
 *         [--npm=<folder with peer and y-webrtc installed>] [--cairn=<another tree of cairn>]
 *         [--workers=2: a cairn of so many threads, on both cores, beside the one of one]
 *
 * Linux only. Needs taskset; npm, nats-server and mosquitto where they are to be compared.
 */

import { hasOpenssl, makeSelfSigned } from "../tests/support/self_signed.ts";
import {
  loadConnects,
  loadExchanges,
  loadFanOut,
  loadIdle,
  loadTlsConnects,
  type Measured,
} from "./support/signaling_loads.ts";
import {
  findServers,
  type RunningServer,
  type ServerKind,
  startServer,
  stopAll,
} from "./support/signaling_servers.ts";

const LOADS = ["exchange", "connect", "tls", "fan-out", "idle"];
const LOAD_CORE = "1";
const CPU_HEAD = ["server CPU", "load CPU", "failures"];

interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly pairs: readonly number[];
  readonly fanOut: readonly number[];
  /** Connections, and the seconds of rest before the memory is read: pings go out after 25 s. */
  readonly idle: readonly (readonly [connections: number, rest: number])[];
}

const argument = (name: string) =>
  Deno.args.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
const quick = Deno.args.includes("--quick");
const only = argument("only")?.split(",");
const loads = argument("loads")?.split(",") ?? LOADS;
const standard: Plan = quick
  ? { rounds: 1, seconds: 1, pairs: [1, 16, 64], fanOut: [1, 10, 100], idle: [[2_000, 2]] }
  : {
    rounds: 3,
    seconds: 2,
    pairs: [1, 16, 64],
    fanOut: [1, 10, 100, 1_000],
    idle: [[2_000, 5], [10_000, 30]],
  };
const plan: Plan = { ...standard, rounds: Number(argument("rounds") ?? standard.rounds) };

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.addSignalListener(signal, () => void stopAll().then(() => Deno.exit(1)));
}
const folder = await Deno.makeTempDir({ prefix: "cairn-signal-load-" });
try {
  await main();
} finally {
  await stopAll();
  await Deno.remove(folder, { recursive: true });
}
Deno.exit(0);

async function main(): Promise<void> {
  console.error("Looking for servers to compare with; npm installs two of them …");
  const found = await findServers(folder, {
    npm: argument("npm"),
    cairn: argument("cairn"),
    workers: argument("workers"),
  });
  const kinds = found.kinds.filter(({ name }) => only?.includes(name.split(",")[0]!) ?? true);
  for (const { name, version } of kinds) console.log(`- ${name}: ${version}`);
  for (const sentence of found.missing) console.log(`- NOT COMPARED: ${sentence}`);
  const [load = NaN] = Deno.loadavg();
  console.log(`- machine: ${await cpuModel()}; load average before the run ${fixed(load, 2)}`);
  await pin(LOAD_CORE);

  const needed = ["exchange", "connect", "fan-out"].some((load) => loads.includes(load));
  const servers: RunningServer[] = [];
  if (needed) {
    for (const kind of kinds) servers.push(await startServer(kind, { folder }));
    for (const server of servers) await loadExchanges(server, 16, plan.seconds);
  }
  if (loads.includes("exchange")) await exchanges(servers);
  if (loads.includes("connect")) await connects(servers);
  await stopAll();
  if (loads.includes("tls")) await tlsConnects(kinds);
  if (loads.includes("fan-out")) await fanOut(kinds);
  if (loads.includes("idle")) await idle(kinds);
}

async function exchanges(servers: readonly RunningServer[]): Promise<void> {
  for (const pairs of plan.pairs) {
    const rows = await takeTurns(servers, (server) => loadExchanges(server, pairs, plan.seconds));
    table(
      `Exchanges, ${pairs} at once`,
      ["server", "exchanges/s", "per server-core-second", "p50 ms", "p99 ms", ...CPU_HEAD],
      rows.map(([name, runs]) => [
        name,
        fixed(median(runs.map(({ count, seconds }) => count / seconds))),
        perCoreSecond(runs),
        fixed(percentile(runs.flatMap(({ times }) => times), 0.5), 2),
        fixed(percentile(runs.flatMap(({ times }) => times), 0.99), 2),
        ...cpuColumns(runs),
      ]),
    );
  }
}

async function connects(servers: readonly RunningServer[]): Promise<void> {
  const rows = await takeTurns(servers, (server) => loadConnects(server, 32, plan.seconds));
  table(
    "Connecting until a client may speak, and leaving; 32 at once, no TLS",
    ["server", "connections/s", "per server-core-second", "p50 ms", "p99 ms", ...CPU_HEAD],
    rows.map(([name, runs]) => [
      ...rateColumns(name, runs),
      fixed(percentile(runs.flatMap(({ times }) => times), 0.5), 2),
      fixed(percentile(runs.flatMap(({ times }) => times), 0.99), 2),
      ...cpuColumns(runs),
    ]),
  );
}

async function tlsConnects(kinds: readonly ServerKind[]): Promise<void> {
  if (!hasOpenssl) return console.log("\nNOT MEASURED: TLS, since openssl is not there");
  await using tls = await makeSelfSigned();
  const servers: RunningServer[] = [];
  for (const kind of kinds.filter(({ upgrade }) => upgrade)) {
    // All these clients have one address.
    servers.push(await startServer(kind, { folder, tls, oneAddress: true }));
  }
  const rows = await takeTurns(
    servers,
    (server) => loadTlsConnects(server, tls.cert, plan.seconds),
  );
  table(
    "Connecting over TLS (full handshake, P-256) and leaving; 16 at once",
    ["server", "connections/s", "per server-core-second", ...CPU_HEAD],
    rows.map(([name, runs]) => [...rateColumns(name, runs), ...cpuColumns(runs)]),
  );
  await stopAll();
}

async function fanOut(kinds: readonly ServerKind[]): Promise<void> {
  const servers: RunningServer[] = [];
  for (const kind of kinds) servers.push(await startServer(kind, { folder, flood: true }));
  for (const listeners of plan.fanOut) {
    const able = servers.filter(({ kind }) => listeners === 1 || !kind.addressesClients);
    const rows = await takeTurns(able, (server) => loadFanOut(server, listeners, plan.seconds));
    table(
      `Messages of 200 bytes from one to ${listeners}`,
      ["server", "deliveries/s", "per server-core-second", "server µs each", ...CPU_HEAD],
      rows.map(([name, runs]) => [
        ...rateColumns(name, runs),
        fixed(median(runs.map(({ serverCpu, count }) => serverCpu / count * 1e6)), 2),
        ...cpuColumns(runs),
      ]),
    );
  }
  await stopAll();
}

async function idle(kinds: readonly ServerKind[]): Promise<void> {
  const rows: string[][] = [];
  for (const kind of kinds) {
    const server = await startServer(kind, { folder });
    const { bytesBefore, steps } = await loadIdle(server, plan.idle);
    await server.stop();
    let last = { connections: 0, bytes: bytesBefore };
    for (const step of steps) {
      const { connections, rest, bytes } = step;
      rows.push([
        kind.name,
        String(connections),
        String(rest),
        fixed(bytesBefore / 1e6, 1),
        fixed(bytes / 1e6, 1),
        fixed((bytes - bytesBefore) / connections),
        fixed((bytes - last.bytes) / (connections - last.connections)),
      ]);
      last = step;
    }
  }
  table(
    "Idle connections, each listening to one topic",
    [
      "server",
      "connections",
      "rest s",
      "MB before",
      "MB then",
      "bytes each",
      "bytes each, last step",
    ],
    rows,
  );
}

/** All servers once in each round, every second round in the other order. */
async function takeTurns(
  servers: readonly RunningServer[],
  load: (server: RunningServer) => Promise<Measured>,
): Promise<[name: string, runs: Measured[]][]> {
  const runs = new Map(servers.map((server) => [server, [] as Measured[]]));
  for (let round = 0; round < plan.rounds; round++) {
    for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
      runs.get(server)?.push(await load(server));
    }
  }
  return [...runs].map(([{ kind }, measured]) => [kind.name, measured]);
}

/** Cores in use, and what did not go well. */
function cpuColumns(runs: readonly Measured[]): string[] {
  return [
    fixed(median(runs.map(({ serverCpu, seconds }) => serverCpu / seconds)), 2),
    fixed(median(runs.map(({ loadCpu, seconds }) => loadCpu / seconds)), 2),
    String(runs.reduce((sum, { failures }) => sum + failures, 0)),
  ];
}

function rateColumns(name: string, runs: readonly Measured[]): string[] {
  return [
    name,
    fixed(median(runs.map(({ count, seconds }) => count / seconds))),
    perCoreSecond(runs),
  ];
}

function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = [head, head.map((_, column) => column === 0 ? "---" : "---:"), ...rows];
  console.log(`\n### ${title}\n`);
  for (const cells of lines) console.log(`| ${cells.join(" | ")} |`);
}

/** The median, and between which bounds the runs were. */
function perCoreSecond(runs: readonly Measured[]): string {
  // The system counts in steps of 10 ms.
  if (runs.some(({ serverCpu }) => serverCpu < 0.1)) return "too little CPU to tell";
  const values = runs.map(({ count, serverCpu }) => count / serverCpu);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return values.length === 1
    ? fixed(median(values))
    : `${fixed(median(values))} (${fixed(low)} to ${fixed(high)})`;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? NaN;
}

function fixed(value: number, digits = 0): string {
  return value.toFixed(digits);
}

async function cpuModel(): Promise<string> {
  const model = /^model name\s*: (.+)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  return `${navigator.hardwareConcurrency} × ${model ?? Deno.build.arch}`;
}

async function pin(core: string): Promise<void> {
  const args = ["-a", "-p", "-c", core, String(Deno.pid)];
  await new Deno.Command("taskset", { args, stdout: "null" }).output();
}
