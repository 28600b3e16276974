// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Megabytes per second over the carriers of links, on this machine's loopback:
 * `deno run -A bench/path_throughput.ts [megabytes] [way …] [portable]`. Each end is a thread of its
 * own, and the relay, where there is one, a process. Every way is measured in each of three rounds.
 */

import { cpuUsage } from "node:process";
import type { CandidateText } from "../src/protocol/ice/candidates.ts";
import type { PathParameters } from "../src/protocol/rendezvous/sealed_message.ts";

const WAYS = ["websocket", "direct", "relay-udp", "relay-tcp"] as const;
export type Way = typeof WAYS[number];
/** What moves the datagrams of both ends. */
export type UdpEngine = "batch" | "portable";
const ROUNDS = 3;
const RELAY_PORT = 34_780;

/** What the threads and their parent say to one another. */
export type EndMessage =
  | {
    readonly kind: "start";
    readonly end: "near" | "far";
    readonly way: Way;
    readonly engine: UdpEngine;
    readonly relayPort: number;
    readonly total: number;
  }
  | { readonly kind: "listens"; readonly url: string }
  | {
    readonly kind: "said";
    readonly path: PathParameters;
    readonly told: readonly CandidateText[];
  }
  | { readonly kind: "open"; readonly description: string; readonly at: number }
  | { readonly kind: "send" }
  | { readonly kind: "received"; readonly at: number };

if (import.meta.main) await measure();

async function measure(): Promise<void> {
  const total = Number(Deno.args[0] ?? "100") * 1_000_000;
  const wanted = Deno.args.slice(1);
  const ways = WAYS.filter((way) =>
    !WAYS.some((each) => wanted.includes(each)) || wanted.includes(way)
  );
  const engine = wanted.includes("portable") ? "portable" : "batch";
  const relay = await startRelay();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const way of ways) {
      console.log(`round ${round}, ${await measureWay(way, engine, total, relay)}`);
    }
  }
  relay.end();
}

async function measureWay(
  way: Way,
  engine: UdpEngine,
  total: number,
  relay: Relay,
): Promise<string> {
  const [near, far] = [spawn(), spawn()];
  const begun = clock();
  let cpu = cpuUsage();
  let relayCpu = 0;
  let started = 0;
  let connected = 0;
  let via = "";
  const finished = Promise.withResolvers<number>();
  const route = (from: Worker, to: Worker) => {
    from.onmessage = async ({ data }: MessageEvent<EndMessage>) => {
      if (data.kind === "received") finished.resolve(data.at);
      else if (data.kind !== "open") to.postMessage(data);
      else {
        // Both ends say so.
        via ||= data.description;
        if (connected === 0) return void (connected = data.at);
        connected = Math.max(connected, data.at);
        relayCpu = await relay.cpuSeconds();
        cpu = cpuUsage();
        started = clock();
        near.postMessage({ kind: "send" } satisfies EndMessage);
      }
    };
  };
  route(near, far);
  route(far, near);
  const wish = { kind: "start", way, engine, relayPort: RELAY_PORT, total } as const;
  far.postMessage({ ...wish, end: "far" } satisfies EndMessage);
  near.postMessage({ ...wish, end: "near" } satisfies EndMessage);
  const seconds = (await finished.promise - started) / 1000;
  const used = cpuUsage(cpu);
  const perGigabyte = (microseconds: number) => (microseconds / 1e6 / (total / 1e9)).toFixed(1);
  near.terminate();
  far.terminate();
  return `${way}: ${(total / 1e6 / seconds).toFixed(1)} MB/s; ` +
    `CPU seconds per GB: both ends ${perGigabyte(used.user + used.system)}, ` +
    `relay ${perGigabyte((await relay.cpuSeconds() - relayCpu) * 1e6)}; ` +
    `carrier ${Math.round(connected - begun)} ms after the threads began (${via})`;
}

/** Milliseconds, the same in every thread. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}

function spawn(): Worker {
  return new Worker(import.meta.resolve("./support/path_end.ts"), { type: "module" });
}

interface Relay {
  cpuSeconds(): Promise<number>;
  end(): void;
}

async function startRelay(): Promise<Relay> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--unstable-kv", "--unstable-net", "main.ts", "relay"],
      ...["--listen-addr", `127.0.0.1:${RELAY_PORT}`, "--relay-ip", "127.0.0.1"],
      ...["--allow-peers", "127.0.0.0/8", "--credentials", "user:pass"],
      ...["--port-range", "10000-10999", "--metrics-addr", "127.0.0.1:0"],
    ],
    stderr: "piped",
  }).spawn();
  const log = child.stderr.pipeThrough(new TextDecoderStream());
  for await (const text of log.values({ preventCancel: true })) if (/listens/i.test(text)) break;
  const ticksPerSecond = 100;
  return {
    async cpuSeconds() {
      const stat = await Deno.readTextFile(`/proc/${child.pid}/stat`);
      const [, fields = ""] = stat.split(") ");
      const [user, system] = fields.split(" ").slice(11, 13).map(Number);
      return ((user ?? NaN) + (system ?? NaN)) / ticksPerSecond;
    },
    end: () => child.kill("SIGTERM"),
  };
}
