/** The TURN servers that are compared: each a process of its own on the loopback. */

import { freePort } from "../../tests/support/free_port.ts";
import { bindingRequest } from "../../tests/support/stun_bytes.ts";
import { BatchSocket } from "./batch_sockets.ts";

const START_WITHIN_MS = 20_000;
const PROBE_EVERY_MS = 50;
/** Below the ports that a system gives to sockets without a number of their own. */
const RELAY_PORTS = [10_000, 19_999] as const;
const CAIRN = new URL("../../main.ts", import.meta.url).pathname;

/** A TURN server that can be started. */
export interface TurnServerKind {
  readonly name: string;
  /** `workers` is the number of threads that relay. */
  command(port: number, folder: string, workers: number): readonly string[];
}

export const cairn = ourRelay("cairn", "batch");
export const portableCairn = ourRelay("portable", "portable");

function ourRelay(name: string, engine: string): TurnServerKind {
  return { name, command: (port, _, workers) => ourCommand(port, engine, workers) };
}

function ourCommand(port: number, engine: string, workers: number): readonly string[] {
  return [
    ...[Deno.execPath(), "run", "-A", ...extraFlags(), CAIRN, "relay", "--log", "error"],
    ...["--udp-engine", engine, "--workers", `${workers}`],
    ...["--listen-addr", `127.0.0.1:${port}`, "--relay-ip", "127.0.0.1"],
    ...["--credentials", "user:pass", "--user-quota", "10000", "--allow-peers", "127.0.0.0/8"],
    ...["--port-range", RELAY_PORTS.join("-")],
  ];
}

export const coturn: TurnServerKind = {
  name: "coturn",
  command: (port, folder, workers) => [
    ...["turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-stdout-log"],
    ...["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "-p", `${port}`],
    ...(workers > 1 ? ["--relay-threads", `${workers}`] : []),
    ...["--lt-cred-mech", "--user", "user:pass", "--realm", "cairn", "--allow-loopback-peers"],
    ...["--min-port", `${RELAY_PORTS[0]}`, "--max-port", `${RELAY_PORTS[1]}`],
    ...["--pidfile", `${folder}/turnserver.pid`, "--userdb", `${folder}/turndb`],
    ...["--log-file", `${folder}/turnserver.log`, "--simple-log"],
  ],
};

/** A server that runs. */
export interface RunningTurnServer extends AsyncDisposable {
  readonly kind: TurnServerKind;
  readonly pid: number;
  readonly port: number;
}

/** Where and how a server runs. */
export interface ServerPlace {
  /** As `taskset` takes them. */
  readonly cores: string;
  /** For its files. */
  readonly folder: string;
  /** Default 1. */
  readonly workers?: number;
}

/** Starts one on some cores and waits until it answers. */
export async function startTurnServer(
  kind: TurnServerKind,
  { cores, folder, workers = 1 }: ServerPlace,
): Promise<RunningTurnServer> {
  const port = freePort();
  const child = new Deno.Command("taskset", {
    args: ["-c", cores, ...kind.command(port, folder, workers)],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  await answers(port);
  return {
    kind,
    pid: child.pid,
    port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), START_WITHIN_MS);
      await child.status;
      clearTimeout(timer);
    },
  };
}

async function answers(port: number): Promise<void> {
  using socket = new BatchSocket();
  socket.connect(port);
  for (let waited = 0; waited < START_WITHIN_MS; waited += PROBE_EVERY_MS) {
    socket.sendOne(bindingRequest());
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
    if (socket.receive() > 0) return;
  }
  throw new Error(`No server answers on port ${port}`);
}

/** Flags of the runtime, as in `CAIRN_BENCH_FLAGS=--cpu-prof`. */
function extraFlags(): readonly string[] {
  return Deno.env.get("CAIRN_BENCH_FLAGS")?.split(" ") ?? [];
}
