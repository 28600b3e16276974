/** Devices that sync a folder over a server, each a process, and what disturbs them. */

import { peakResidentBytes } from "../../bench/support/process_usage.ts";
import { RemoteNode } from "../../src/roles/peer/remote_node.ts";
import { runCairn } from "../cli/run_cairn.ts";
import { CuttableProxy } from "./cuttable_proxy.ts";
import { freePort } from "./free_port.ts";
import { CairnProcess } from "./processes.ts";

const LOOK_EVERY_MS = 50;
const PSK = "correct horse battery staple";

/** A line of `cairn peer sync --json`. */
export interface SyncLine {
  readonly event: string;
  readonly path?: string;
  readonly bytes?: number;
  readonly files?: number;
  readonly names?: readonly string[];
}

/** A server and devices as processes, below one temporary folder. */
export class FolderProcesses implements AsyncDisposable {
  readonly proxy: CuttableProxy;
  readonly #running = new Map<CairnProcess, string>();
  readonly #port: number;
  #server: CairnProcess | undefined;
  readonly #peaks = new Map<string, number>();

  private constructor(readonly root: string, readonly deadline: AbortSignal, port: number) {
    this.#port = port;
    this.proxy = new CuttableProxy(port);
  }

  /** With the server running and every device paired with it. */
  static async open(
    devices: readonly string[],
    deadline: AbortSignal,
    within?: string,
  ): Promise<FolderProcesses> {
    const root = await Deno.makeTempDir({ prefix: "cairn-sync-", ...(within && { dir: within }) });
    const scene = new FolderProcesses(root, deadline, freePort());
    const id = await scene.startServer();
    for (const device of devices) {
      await Deno.mkdir(scene.folder(device));
      const args = ["peer", "pair", "--psk", PSK, "--peer", id, ...scene.#access(device)];
      const { code, stderr } = await runCairn(args);
      if (code !== 0) throw new Error(`${device} could not be paired: ${stderr}`);
    }
    return scene;
  }

  folder(device: string): string {
    return `${this.root}/${device}-files`;
  }

  /** Resolves to the server's Peer ID once it is ready. */
  async startServer(): Promise<string> {
    const server = this.#start("server", [
      "server",
      "--data-dir",
      `${this.root}/server`,
      "--listen-addr",
      `127.0.0.1:${this.#port}`,
      "--mgmt-enabled",
      "false",
      "--psk",
      PSK,
      "--forward-max-total",
      "4GB",
      "--log-format",
      "json",
    ]);
    this.#server = server;
    for await (const line of server.log) {
      const id = /Qm[1-9A-HJ-NP-Za-km-z]{44}/.exec(line)?.[0];
      if (id !== undefined && line.includes("accepts links")) return id;
    }
    throw new Error(`The server did not start: ${server.log.all.join("\n")}`);
  }

  async killServer(): Promise<void> {
    this.measure();
    await this.#server?.kill();
  }

  /** `cairn peer sync --json`. */
  sync(device: string, more: readonly string[] = []): CairnProcess {
    const args = ["peer", "sync", this.folder(device), "--name", "photos", "--device", device];
    return this.#start(device, [...args, "--json", ...this.#access(device), ...more]);
  }

  /** Waits until a device that syncs is linked with the server. */
  async linked(device: string): Promise<void> {
    const isLinked = async () => {
      const node = await RemoteNode.connect(`${this.root}/${device}`);
      const pairings = await node?.pairings() ?? [];
      await node?.close();
      return pairings.some(({ connected }) => connected);
    };
    while (!await isLinked()) {
      this.deadline.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  /** Most bytes that each process has had in memory, by its name; over all its lives. */
  measure(): ReadonlyMap<string, number> {
    for (const [process, name] of this.#running) {
      try {
        const peak = peakResidentBytes(process.pid);
        this.#peaks.set(name, Math.max(peak || 0, this.#peaks.get(name) ?? 0));
      } catch {
        // It has ended.
      }
    }
    return this.#peaks;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#running.keys()) await process[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
    await Deno.remove(this.root, { recursive: true });
  }

  #start(name: string, args: readonly string[]): CairnProcess {
    const process = new CairnProcess(args, { deadline: this.deadline });
    this.#running.set(process, name);
    return process;
  }

  #access(device: string): string[] {
    const url = `ws://127.0.0.1:${this.proxy.port}`;
    return ["--data-dir", `${this.root}/${device}`, "--server-url", url];
  }
}
