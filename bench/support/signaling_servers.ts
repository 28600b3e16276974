/** The signaling servers that are compared: each a process of its own on loopback, on one core. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../tests/support/free_port.ts";
import { startProcess } from "./started_process.ts";
import { cairn, type Dialect, mqtt, nats, peerJs, yWebrtc } from "./signaling_dialects.ts";

/** The npm packages that are measured beside cairn. */
const PACKAGES = ["peer@1.0.2", "y-webrtc@10.3.0"];
const START_WITHIN_MS = 20_000;
const TOKEN = "a-token-of-the-load-generator";

export interface TlsFiles {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
}

/** A server that can be started. */
export interface ServerKind {
  readonly name: string;
  /** With the runtime that it is on. */
  readonly version: string;
  /** Of its own best kind for measuring in exchanges; `true` where clients are spoken to by id. */
  readonly addressesClients: boolean;
  readonly dialect: Dialect;
  /** Request headers and path that a TLS client needs to get in; none where there is no TLS. */
  readonly upgrade?: { readonly path: string; readonly headers: Readonly<Record<string, string>> };
  command(options: ServerOptions): Promise<readonly string[]>;
  /** Those that it may use; default the first one. The load is on the second, in any case. */
  readonly cores?: string;
  readonly environment?: (options: ServerOptions) => Readonly<Record<string, string>>;
}

export interface ServerOptions {
  readonly port: number;
  /** A folder for what the server wants to have in files. */
  readonly folder: string;
  readonly tls?: TlsFiles;
  /** All clients will come from one address. */
  readonly oneAddress?: boolean;
  /** A client will send as fast as it can, to as many as there are. */
  readonly flood?: boolean;
}

/** A server that runs. */
export interface RunningServer {
  readonly kind: ServerKind;
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

const running = new Set<RunningServer>();

/** Starts one on core 0 and waits until it accepts connections. */
export async function startServer(
  kind: ServerKind,
  options: Omit<ServerOptions, "port">,
): Promise<RunningServer> {
  const port = freePort();
  const logPath = join(options.folder, `${kind.name}-${port}.log`);
  const [program = "", ...args] = await kind.command({ ...options, port });
  const started = await startProcess({
    // A shell in between, since the log of a server is a file; it is replaced by the server.
    command: [
      "taskset",
      "-c",
      kind.cores ?? "0",
      "sh",
      "-c",
      'exec "$@" >"$0" 2>&1',
      logPath,
      program,
      ...args,
    ],
    env: { NO_COLOR: "1", ...kind.environment?.({ ...options, port }) },
    stderr: "null",
    port,
    startWithin: START_WITHIN_MS,
    explain: async () => `${kind.name} does not start:\n${await Deno.readTextFile(logPath)}`,
  });
  const server: RunningServer = {
    kind,
    pid: started.pid,
    port,
    async stop() {
      running.delete(server);
      await started.stop();
    },
  };
  running.add(server);
  return server;
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((server) => server.stop()));
}

/** Finds what can be compared here; `missing` says what cannot, and why. */
export async function findServers(
  folder: string,
  places: {
    readonly npm: string | undefined;
    readonly cairn: string | undefined;
    /** Threads of one more cairn. */
    readonly workers: string | undefined;
  },
): Promise<{ kinds: ServerKind[]; missing: string[] }> {
  const missing: string[] = [];
  const kinds = [cairnKind(places.cairn)];
  if (places.workers) kinds.push(cairnKind(places.cairn, places.workers));
  const modules = join(places.npm ?? folder, "node_modules");
  const node = await firstLine("node", "--version");
  if (node === undefined) missing.push("peer and y-webrtc: Node.js is not there");
  else if (!places.npm && !await installPackages(folder)) {
    missing.push("peer and y-webrtc: npm could not install them");
  } else {
    kinds.push(peerJsKind(modules, node), yWebrtcKind(modules, node));
  }
  const natsVersion = await firstLine("nats-server", "--version");
  if (natsVersion) kinds.push(natsKind(natsVersion.replace("nats-server: ", "")));
  else missing.push("nats-server: Debian's package of that name is not installed");
  const mosquittoVersion = await firstLine("/usr/sbin/mosquitto", "-h");
  if (mosquittoVersion) {
    kinds.push(mosquittoKind(mosquittoVersion.replace("mosquitto version ", "")));
  } else missing.push("mosquitto: Debian's package of that name is not installed");
  return { kinds, missing };
}

/** Where the load is what a protection is there against, it is raised; the others have none. */
const ONE_ADDRESS = ["--connection-rate", "1000000", "--connections-per-address", "100000"];
const FLOOD = [
  ...["--message-rate", "1000000", "--byte-rate", "1GB", "--connections-per-topic", "2000"],
];

function cairnKind(tree: string | undefined, workers?: string): ServerKind {
  const root = tree ?? fileURLToPath(new URL("../../", import.meta.url));
  return {
    name: workers ? `cairn, ${workers} threads` : "cairn",
    ...(workers && { cores: "0,1" }),
    version: `${tree ?? "this tree"}, Deno ${Deno.version.deno}`,
    addressesClients: false,
    dialect: cairn(TOKEN),
    upgrade: { path: "/", headers: { Authorization: `Bearer ${TOKEN}` } },
    command: ({ port, tls, oneAddress, flood }) =>
      Promise.resolve([
        ...[Deno.execPath(), "run", "-A", "--unstable-kv", "--unstable-net", join(root, "main.ts")],
        ...["signal", "--listen-addr", `127.0.0.1:${port}`, "--auth-token", TOKEN],
        ...(tls ? ["--tls-cert", tls.certPath, "--tls-key", tls.keyPath] : []),
        ...(workers ? ["--workers", workers] : []),
        ...(oneAddress ? ONE_ADDRESS : []),
        ...(flood ? FLOOD : []),
      ]),
  };
}

function peerJsKind(modules: string, node: string): ServerKind {
  return {
    name: "peer",
    version: `${packageVersion(modules, "peer")}, Node.js ${node}`,
    addressesClients: true,
    dialect: peerJs,
    upgrade: { path: "/peerjs?key=peerjs&id=ID&token=t&version=1.5.5", headers: {} },
    command: ({ port, tls }) =>
      Promise.resolve([
        ...["node", join(modules, "peer/dist/bin/peerjs.js"), "--port", String(port)],
        ...["--host", "127.0.0.1", "--path", "/", "--concurrent_limit", "20000"],
        ...(tls ? ["--sslcert", tls.certPath, "--sslkey", tls.keyPath] : []),
      ]),
  };
}

/** This server has no option for the address, and would listen on all. */
const LOOPBACK = `data:text/javascript,${
  encodeURIComponent(
    'import { Server } from "node:net"; const { listen } = Server.prototype; ' +
      'Server.prototype.listen = function (port) { return listen.call(this, port, "127.0.0.1"); };',
  )
}`;

function yWebrtcKind(modules: string, node: string): ServerKind {
  return {
    name: "y-webrtc",
    version: `${packageVersion(modules, "y-webrtc")}, Node.js ${node}`,
    addressesClients: false,
    dialect: yWebrtc,
    environment: ({ port }) => ({ PORT: String(port) }),
    command: () =>
      Promise.resolve(["node", "--import", LOOPBACK, join(modules, "y-webrtc/bin/server.js")]),
  };
}

function natsKind(version: string): ServerKind {
  return {
    name: "nats-server",
    version,
    addressesClients: false,
    dialect: nats,
    upgrade: { path: "/", headers: {} },
    async command({ port, folder, tls }) {
      const config = join(folder, `nats-${port}.conf`);
      const security = tls
        ? `tls { cert_file: "${tls.certPath}", key_file: "${tls.keyPath}" }`
        : "no_tls: true";
      await Deno.writeTextFile(
        config,
        `listen: "127.0.0.1:-1"\nwebsocket { listen: "127.0.0.1:${port}", ${security} }\n`,
      );
      return ["nats-server", "-c", config];
    },
  };
}

function mosquittoKind(version: string): ServerKind {
  return {
    name: "mosquitto",
    version,
    addressesClients: false,
    dialect: mqtt,
    upgrade: { path: "/", headers: { "Sec-WebSocket-Protocol": "mqtt" } },
    async command({ port, folder, tls }) {
      const config = join(folder, `mosquitto-${port}.conf`);
      const otherPort = freePort();
      const lines = [
        // Without the first listener it does not start, without the domain it is on all addresses.
        ...[`listener ${otherPort} 127.0.0.1`, `listener ${port} 127.0.0.1`],
        ...["socket_domain ipv4", "protocol websockets", "allow_anonymous true"],
        ...["user root", "max_connections -1", "log_type error", "persistence false"],
        ...(tls ? [`certfile ${tls.certPath}`, `keyfile ${tls.keyPath}`] : []),
      ];
      await Deno.writeTextFile(config, `${lines.join("\n")}\n`);
      return ["/usr/sbin/mosquitto", "-c", config];
    },
  };
}

async function installPackages(folder: string): Promise<boolean> {
  await Deno.writeTextFile(join(folder, "package.json"), '{"private":true}');
  const { success } = await new Deno.Command("npm", {
    args: ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...PACKAGES],
    cwd: folder,
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  return success;
}

function packageVersion(modules: string, name: string): string {
  return JSON.parse(Deno.readTextFileSync(join(modules, name, "package.json"))).version;
}

async function firstLine(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { stdout } = await new Deno.Command(command, { args, stderr: "null" }).output();
    return new TextDecoder().decode(stdout).split("\n")[0];
  } catch {
    return undefined;
  }
}
