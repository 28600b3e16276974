/** Processes of one temporary folder that are given bad input; what they say is searched for secrets. */

import { freePort } from "../support/free_port.ts";
import { deepEqual, equal, ok } from "node:assert/strict";
import { within } from "../support/deadline.ts";
import { CairnProcess, type ProcessOptions } from "../support/processes.ts";

export const LOOPBACK = "127.0.0.1";

/** None of these may occur in anything that a process writes. */
export const SECRETS = {
  psk: "canary-psk-correct-horse",
  wrongPsk: "canary-psk-of-somebody-else",
  managementToken: "canary-management-token",
  signalToken: "canary-signal-token",
} as const;

/** What a process left that has ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BadInputTest {
  readonly name: string;
  /** Everything must be over in so many seconds, of a machine however busy. Default 240. */
  readonly seconds?: number;
  readonly ignore?: boolean;
  readonly story: (scene: BadInputScene) => Promise<void>;
}

/** Runs `story`; at its end every process must end in order and have kept every secret. */
export function badInputTest({ name, seconds = 240, ignore = false, story }: BadInputTest): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      await using scene = await BadInputScene.open(seconds);
      await story(scene);
      await scene.end();
    },
  });
}

export class BadInputScene implements AsyncDisposable {
  readonly #processes: CairnProcess[] = [];
  readonly #running = new Set<CairnProcess>();
  readonly #stack = new AsyncDisposableStack();

  private constructor(readonly folder: string, readonly deadline: AbortSignal) {
    this.#stack.defer(() => Deno.remove(folder, { recursive: true }));
  }

  static async open(seconds: number): Promise<BadInputScene> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-bad-" });
    return new BadInputScene(folder, AbortSignal.timeout(seconds * 1000));
  }

  /** Something to clean up, before the folder goes. */
  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  /** Starts `cairn` with `args`; by default it logs everything, as JSON. */
  start(
    args: readonly string[],
    options: Omit<ProcessOptions, "deadline"> = {},
  ): CairnProcess {
    const env = { RUST_LOG: "trace", CAIRN_LOG_FORMAT: "json", ...options.env };
    const started = new CairnProcess(args, { ...options, deadline: this.deadline, env });
    this.#stack.use(started);
    this.#processes.push(started);
    this.#running.add(started);
    return started;
  }

  /** Runs `cairn` to its end. */
  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return await this.ended(this.start(args, { env: { RUST_LOG: "warn", ...env } }));
  }

  /** Waits until a process has ended by itself. */
  async ended(started: CairnProcess): Promise<Ended> {
    const code = await started.exit();
    this.#running.delete(started);
    return { code, stdout: started.output.all.join("\n"), stderr: started.log.all.join("\n") };
  }

  /** Asks a process to end, which it must do in order. */
  async stop(started: CairnProcess): Promise<void> {
    equal(await started.end(), 0, started.log.all.slice(-20).join("\n"));
    this.#running.delete(started);
  }

  /** `cairn signal`; resolves when it listens. */
  async signal(wanted = 0): Promise<{ process: CairnProcess; port: number; url: string }> {
    const process = this.start(["signal", "--listen-addr", `${LOOPBACK}:${wanted}`], {
      env: {
        CAIRN_SIGNAL_AUTH_TOKEN: SECRETS.signalToken,
        // Everyone here has one address; what is behind the limits is to be reached, too.
        CAIRN_SIGNAL_MESSAGE_RATE: "100000",
        CAIRN_SIGNAL_BYTE_RATE: "1GB",
        CAIRN_SIGNAL_CONNECTIONS_PER_ADDRESS: "10000",
        CAIRN_SIGNAL_CONNECTION_RATE: "100000",
      },
    });
    const { port } = await this.logged(process, /Signaling server listens/);
    return { process, port: Number(port), url: `ws://${LOOPBACK}:${port}` };
  }

  /** `cairn server` on a data folder; resolves when it accepts links. */
  async server(
    dataDir: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<ServerProcess> {
    const managementPort = freePort();
    const process = this.start(serverArgs(dataDir, managementPort), {
      env: {
        CAIRN_PSK: SECRETS.psk,
        CAIRN_MGMT_TOKEN: SECRETS.managementToken,
        ...env,
      },
    });
    const { port, peer } = await this.logged(process, /accepts links/);
    return new ServerProcess(process, String(peer), Number(port), managementPort, this.deadline);
  }

  /** The properties of the first log record whose message matches. */
  async logged(process: CairnProcess, message: RegExp): Promise<Record<string, unknown>> {
    for await (const line of process.log) {
      const record = recordOf(line);
      if (record && message.test(record.message)) return record.properties;
    }
    throw new Error(`No log record matches ${message}:\n${process.log.all.join("\n")}`);
  }

  /** A peer on the command line, which finds `server` by its address, or else through signaling. */
  peer(name: string, server?: ServerProcess, signalUrl?: string): PeerOnCommandLine {
    return new PeerOnCommandLine(this, `${this.folder}/${name}`, server, signalUrl);
  }

  /** Peers that are paired with `server`. */
  async paired<Name extends string>(
    server: ServerProcess,
    ...names: readonly Name[]
  ): Promise<Record<Name, PeerOnCommandLine>> {
    const peers: Partial<Record<Name, PeerOnCommandLine>> = {};
    await Promise.all(names.map(async (name) => {
      const peer = this.peer(name, server);
      await peer.pair();
      peers[name] = peer;
    }));
    return peers as Record<Name, PeerOnCommandLine>;
  }

  /** Ends what still runs and asserts that nobody told a secret. */
  async end(): Promise<void> {
    for (const process of [...this.#running].reverse()) await this.stop(process);
    for (const { output, log } of this.#processes) {
      for (const line of [...output.all, ...log.all]) {
        const told = Object.values(SECRETS).filter((secret) => line.includes(secret));
        deepEqual(told, [], `A secret was told: ${line}`);
        ok(!/Ending after an unexpected failure|unexpected failure:/.test(line), line);
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** A `cairn server` that accepts links. */
export class ServerProcess {
  constructor(
    readonly process: CairnProcess,
    readonly id: string,
    readonly linkPort: number,
    readonly managementPort: number,
    private readonly deadline: AbortSignal,
  ) {}

  get linkUrl(): string {
    return `ws://${LOOPBACK}:${this.linkPort}/link`;
  }

  /** `GET /health`, which must answer, and how. */
  async assertHealthy(expected: "healthy" | "degraded" = "healthy"): Promise<void> {
    const response = await this.#get("/health");
    const { status }: { status: string } = await response.json();
    equal(status, expected);
  }

  /** `GET /queues`: how many messages wait, by Peer ID. */
  async queues(): Promise<Record<string, number>> {
    const response = await this.#get("/queues");
    const { queues }: { queues: { peer_id: string; pending_messages: number }[] } = await response
      .json();
    return Object.fromEntries(queues.map((queue) => [queue.peer_id, queue.pending_messages]));
  }

  /** `GET /peers`: the Peer IDs of those that are connected. */
  async connected(): Promise<string[]> {
    const peers: { peer_id: string; connected: boolean }[] = await (await this.#get("/peers"))
      .json();
    return peers.filter(({ connected }) => connected).map(({ peer_id }) => peer_id);
  }

  #get(path: string): Promise<Response> {
    return fetch(`http://${LOOPBACK}:${this.managementPort}${path}`, {
      headers: { authorization: `Bearer ${SECRETS.managementToken}` },
      signal: this.deadline,
    });
  }
}

/** `cairn peer` with one data folder. */
export class PeerOnCommandLine {
  constructor(
    private readonly scene: BadInputScene,
    readonly folder: string,
    public server: ServerProcess | undefined,
    private readonly signalUrl: string | undefined,
  ) {}

  /** Runs `cairn peer …` to its end. */
  run(verb: string, ...args: readonly string[]): Promise<Ended> {
    return this.scene.run(this.#args(verb, args), this.#env);
  }

  async id(): Promise<string> {
    const { code, stdout, stderr } = await this.run("id");
    equal(code, 0, stderr);
    return stdout;
  }

  /** Pairs by PSK; that must succeed. */
  async pair(): Promise<void> {
    const { code, stderr } = await this.pairBy(SECRETS.psk);
    equal(code, 0, stderr);
  }

  /** `cairn peer pair` with this key, given in the environment. */
  pairBy(psk: string): Promise<Ended> {
    return this.scene.run(this.#args("pair", ["--peer", this.server?.id ?? ""]), {
      ...this.#env,
      CAIRN_PSK: psk,
    });
  }

  /** Sends to `recipient`; resolves to the id of the message, which a server must have accepted. */
  async sends(recipient: string, text: string): Promise<string> {
    const { code, stdout, stderr } = await this.run("send", recipient, text);
    equal(code, 0, stderr);
    return stdout;
  }

  /** `cairn peer listen --json`, running. */
  listen(...args: readonly string[]): CairnProcess {
    return this.scene.start(this.#args("listen", ["--json", ...args]), {
      env: { ...this.#env, RUST_LOG: "debug" },
    });
  }

  /** Reads so many messages, which must come, and goes: their texts. */
  async reads(count: number): Promise<string[]> {
    const reader = this.listen("--count", String(count));
    const { code, stdout, stderr } = await this.scene.ended(reader);
    equal(code, 0, stderr);
    return textsOf(stdout.split("\n"));
  }

  #args(verb: string, args: readonly string[]): string[] {
    const hint = this.signalUrl
      ? ["--signal", this.signalUrl]
      : this.server
      ? ["--server-url", this.server.linkUrl]
      : [];
    return ["peer", verb, "--data-dir", this.folder, ...hint, ...args];
  }

  get #env(): Record<string, string> {
    return this.signalUrl ? { CAIRN_SIGNAL_AUTH_TOKEN: SECRETS.signalToken } : {};
  }
}

/** The texts of the lines that `cairn peer listen --json` prints. */
export function textsOf(lines: readonly string[]): string[] {
  return lines.map((line): string => JSON.parse(line).text);
}

/** The arguments of a `cairn server` that listens on loopback alone. */
export function serverArgs(dataDir: string, managementPort: number, linkPort = 0): string[] {
  return [
    ...["server", "--data-dir", dataDir, "--listen-addr", `${LOOPBACK}:${linkPort}`],
    ...["--mgmt-port", String(managementPort)],
  ];
}

/** What a command that failed tells its user: the one line that begins with "error: ". */
export function sentenceOf({ code, stdout, stderr }: Ended, status = 1): string {
  const sentences = stderr.split("\n").filter((line) => line.startsWith("error: "));
  deepEqual([code, stdout, sentences.length], [status, "", 1], stderr);
  return sentences.join("").slice("error: ".length);
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly properties: Record<string, unknown>;
}

/** A log record of a process that logs JSON lines; `undefined` for another line. */
export function recordOf(line: string): LogLine | undefined {
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}

/** Asks again and again until the answer is right, at most until the deadline. */
export async function eventually<T>(
  deadline: AbortSignal,
  ask: () => Promise<T>,
  isRight: (answer: T) => boolean,
): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    const pause = new Promise<void>((resolve) => setTimeout(resolve, 50));
    await within(deadline, pause, () => `another answer than ${JSON.stringify(answer)}`);
  }
}
