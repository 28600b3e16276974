import { freePort } from "./free_port.ts";
import { untilHolds } from "./rested.ts";

/** `nats-server` of Debian's package, where it is installed. */
export class NatsServer implements AsyncDisposable {
  #child: Deno.ChildProcess | undefined;

  readonly #monitor = freePort();

  private constructor(readonly port: number, private readonly args: readonly string[]) {}

  static isInstalled(): boolean {
    try {
      const command = new Deno.Command("nats-server", { args: ["--version"], stdout: "null" });
      return command.outputSync().success;
    } catch {
      return false;
    }
  }

  /** What the names of tests that need it end with, and their options: without it they are left out. */
  static forTests(): { readonly note: string; readonly options: { readonly ignore: boolean } } {
    const ignore = !NatsServer.isInstalled();
    return { note: ignore ? " (SKIPPED: nats-server is not installed)" : "", options: { ignore } };
  }

  /** On a free port of this machine; `args` beside those that say so. */
  static async start(...args: string[]): Promise<NatsServer> {
    const server = new NatsServer(freePort(), args);
    await server.start();
    return server;
  }

  /** The same, with what a file of configuration says. */
  static async startWith(config: string): Promise<NatsServer> {
    const path = await Deno.makeTempFile({ suffix: ".conf" });
    try {
      await Deno.writeTextFile(path, config);
      return await NatsServer.start("--config", path);
    } finally {
      await Deno.remove(path);
    }
  }

  async start(): Promise<void> {
    const port = String(this.port);
    this.#child = new Deno.Command("nats-server", {
      args: [
        "--addr",
        "127.0.0.1",
        "--port",
        port,
        "--http_port",
        String(this.#monitor),
        ...this.args,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const greets = async () => {
      try {
        using connection = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
        return await connection.read(new Uint8Array(1)) !== null;
      } catch {
        return false;
      }
    };
    await untilHolds(greets, () => "nats-server greets");
  }

  /** Waits until so many subscriptions are there, of all its clients. */
  async hasSubscriptions(count: number): Promise<void> {
    const url = `http://127.0.0.1:${this.#monitor}/connz?limit=1000`;
    const has = async () => {
      const { connections } = await (await fetch(url)).json();
      const counts: number[] = connections.map((each: { subscriptions: number }) =>
        each.subscriptions
      );
      return counts.reduce((sum, each) => sum + each, 0) === count;
    };
    await untilHolds(has, () => `${count} subscriptions on the bus`);
  }

  /** As when it dies. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.status;
    this.#child = undefined;
  }

  /** Whether it goes on, or hangs. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
