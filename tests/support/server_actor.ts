import { freePort } from "./free_port.ts";
import { equal } from "node:assert/strict";
import type { PeerId } from "../../src/mod.ts";
import type { CrashScene } from "./crash_scene.ts";
import type { CairnProcess } from "./processes.ts";

/** The key by which peers pair with it. */
export const PSK = "correct horse battery staple";
const TOKEN = "token-of-the-crash-tests";
const LOOPBACK = "127.0.0.1";

/** The always-on server. */
export class ServerActor implements AsyncDisposable {
  readonly folder: string;
  #process: CairnProcess | undefined;
  #url: string | undefined;
  #managementUrl = "";

  constructor(private readonly scene: CrashScene, readonly id: PeerId) {
    this.folder = `${scene.folder}/server`;
  }

  /** Where it accepts links, while it runs. */
  get url(): string | undefined {
    return this.#url;
  }

  /** Starts it and leads the peers to it. */
  async start(): Promise<void> {
    const managementPort = freePort();
    this.#managementUrl = `http://${LOOPBACK}:${managementPort}`;
    const started = this.scene.start([
      ...["server", "--data-dir", this.folder, "--listen-addr", `${LOOPBACK}:0`],
      ...["--mgmt-port", String(managementPort)],
    ], { env: { CAIRN_PSK: PSK, CAIRN_MGMT_TOKEN: TOKEN, RUST_LOG: "trace" } });
    this.#process = started;
    this.#url = `ws://${LOOPBACK}:${await linkPort(started)}/link`;
    for (const { proxy } of this.scene.everyone) proxy.leadTo(this.#url);
  }

  /** SIGKILL. Peers that look for it wait until it is started again. */
  async kill(): Promise<void> {
    await this.#leave((running) => running.kill());
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    await this.#leave(async (running) => equal(await running.end(), 0));
  }

  async restartAfterKill(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** `cairn server backup` of it while it runs. */
  backUp(file: string, passphrase: string): CairnProcess {
    return this.scene.start(["server", "backup", file], {
      env: {
        CAIRN_MGMT_URL: this.#managementUrl,
        CAIRN_MGMT_TOKEN: TOKEN,
        CAIRN_BACKUP_PASSPHRASE: passphrase,
      },
    });
  }

  /** `GET /queues`: how many messages wait, by Peer ID. */
  async queues(): Promise<Record<string, number>> {
    const response = await fetch(`${this.#managementUrl}/queues`, {
      headers: { authorization: `Bearer ${TOKEN}` },
      signal: this.scene.deadline,
    });
    const { queues }: { queues: { peer_id: string; pending_messages: number }[] } = await response
      .json();
    return Object.fromEntries(queues.map((queue) => [queue.peer_id, queue.pending_messages]));
  }

  /** What its management answers to whoever has the token, about one peer's mailbox too. */
  async everythingItTells(peer: PeerId): Promise<string> {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const signal = this.scene.deadline;
    let told = "";
    const paths = [
      "/health",
      "/peers",
      "/queues",
      "/queue",
      `/queue/${peer}`,
      "/audit",
      "/metrics",
    ];
    for (const path of paths) {
      const response = await fetch(`${this.#managementUrl}${path}`, { headers, signal });
      equal(response.status, 200, path);
      told += await response.text();
    }
    return told;
  }

  /** Everything it has logged since it was last started, at the level that says most. */
  log(): string {
    return this.#process?.log.all.join("\n") ?? "";
  }

  /** Resolves after a turn of its event loop. */
  async turn(): Promise<void> {
    await this.queues();
  }

  /** Keys of the parts of large bodies in its store, staged or not. It must not run. */
  async bodyParts(): Promise<Deno.KvKey[]> {
    using kv = await Deno.openKv(`${this.folder}/cairn.kv`);
    const keys = (await Array.fromAsync(kv.list({ prefix: [] }))).map(({ key }) => key);
    return keys.filter((key) => key.includes("blob"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
  }

  async #leave(end: (running: CairnProcess) => Promise<void>): Promise<void> {
    this.#url = undefined;
    for (const { proxy } of this.scene.everyone) proxy.leadTo(undefined);
    if (this.#process) await end(this.#process);
    for (const { proxy } of this.scene.everyone) proxy.cut();
  }
}

async function linkPort(server: CairnProcess): Promise<number> {
  for await (const line of server.log) {
    const { message, properties } = line.startsWith("{") ? JSON.parse(line) : { message: line };
    if (/accepts links/.test(message)) return properties.port;
  }
  throw new Error(`The server did not start: ${server.log.all.join("\n")}`);
}
