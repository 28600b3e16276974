/** The TURN servers that are compared: each a process of its own on the loopback, on one core. */

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
  command(port: number, folder: string): readonly string[];
}

export const cairn = ourRelay("cairn", "batch");
export const portableCairn = ourRelay("portable", "portable");

function ourRelay(name: string, engine: string): TurnServerKind {
  return { name, command: (port) => ourCommand(port, engine) };
}

function ourCommand(port: number, engine: string): readonly string[] {
  return [
    ...[Deno.execPath(), "run", "-A", ...extraFlags(), CAIRN, "relay", "--log", "error"],
    ...["--udp-engine", engine],
    ...["--listen-addr", `127.0.0.1:${port}`, "--relay-ip", "127.0.0.1"],
    ...["--credentials", "user:pass", "--user-quota", "1000", "--allow-peers", "127.0.0.0/8"],
    ...["--port-range", RELAY_PORTS.join("-")],
  ];
}

export const coturn: TurnServerKind = {
  name: "coturn",
  command: (port, folder) => [
    ...["turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-stdout-log"],
    ...["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "-p", `${port}`],
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

/** Starts one on a core and waits until it answers. */
export async function startTurnServer(
  kind: TurnServerKind,
  { core, folder }: { readonly core: string; readonly folder: string },
): Promise<RunningTurnServer> {
  const port = freePort();
  const child = new Deno.Command("taskset", {
    args: ["-c", core, ...kind.command(port, folder)],
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
