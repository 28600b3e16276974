import assert from "node:assert/strict";
import { parseIp } from "../../src/base/address.ts";
import { equalBytes, utf8 } from "../../src/base/bytes.ts";
import { WireClient, type WireTarget } from "./wire_client.ts";

const LOOPBACK = parseIp("127.0.0.1")!;
const CROWD = 4;
const AGAIN_MS = 200;
const LOOK_EVERY_MS = 20;
const WITHIN_MS = 120_000;

interface Member {
  readonly client: WireClient;
  readonly channel: number;
}

interface Ports {
  readonly port: number;
  readonly tlsPort: number;
  readonly metricsPort: number;
}

export interface AttackedRelayOptions {
  readonly limits?: Readonly<Record<string, number>>;
  readonly tls?: { readonly certPath: string; readonly keyPath: string; readonly cert: string };
  /** Its clients, which all have one address, may come as often as they like. */
  readonly unlimited?: boolean;
  /** How many files and sockets the process may have open. */
  readonly maxFiles?: number;
}

/** A relay in a process of its own, with clients that do nothing wrong. */
export class AttackedRelay {
  readonly port: number;
  readonly tlsPort: number;
  readonly #metricsPort: number;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #echo: Deno.DatagramConn;
  readonly #crowd: Member[] = [];
  readonly #clients: WireClient[] = [];

  private constructor(
    child: Deno.ChildProcess,
    output: ReadableStreamDefaultReader<string>,
    { port, tlsPort, metricsPort }: Ports,
  ) {
    this.#child = child;
    this.#output = output;
    this.port = port;
    this.tlsPort = tlsPort;
    this.#metricsPort = metricsPort;
    this.#echo = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    void this.#answer();
  }

  static async start(options: AttackedRelayOptions = {}): Promise<AttackedRelay> {
    const { limits = {}, tls, unlimited, maxFiles } = options;
    const command = [
      ...[Deno.execPath(), "run", "-A", "--no-lock", "--unstable-kv", "--unstable-net"],
      new URL("relay_process.ts", import.meta.url).pathname,
      JSON.stringify(limits),
      unlimited ? "unlimited" : "usual",
      ...(tls ? [tls.certPath, tls.keyPath] : []),
    ];
    const child = new Deno.Command("sh", {
      args: ["-c", `${maxFiles ? `ulimit -n ${maxFiles};` : ""} exec "$@"`, "sh", ...command],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value = "{}" } = await output.read();
    const relay = new AttackedRelay(child, output, JSON.parse(value));
    for (let i = 0; i < CROWD; i++) relay.#crowd.push(await relay.#join());
    return relay;
  }

  async client(target: Partial<WireTarget> = {}): Promise<WireClient> {
    const port = target.transport === "tls" ? this.tlsPort : this.port;
    const client = await WireClient.open({ transport: "udp", port, ...target });
    this.#clients.push(client);
    return client;
  }

  /** Most bytes of the process that have been in memory at a time. */
  peakMemory(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  }

  /** Bytes of the process that are in memory. */
  memory(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  }

  /** Where datagrams are sent back. */
  get echoPort(): number {
    assert.ok(this.#echo.addr.transport === "udp");
    return this.#echo.addr.port;
  }

  /** One of the metrics, 0 when it is not there. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`cairn_relay_${name} `));
    return Number(line?.split(" ").at(-1) ?? 0);
  }

  /** Waits until a metric is as it should be. */
  async until(name: string, isRight: (value: number) => boolean): Promise<void> {
    await poll(() => this.metric(name), isRight, name);
  }

  /** Waits until the process has no file descriptor left of the `maxFiles` that it may have. */
  async hasNoFileLeft(maxFiles: number): Promise<void> {
    const folder = `/proc/${this.#child.pid}/fd`;
    const look = async () => {
      const open = await Array.fromAsync(Deno.readDir(folder), ({ name }) => Number(name));
      return open.filter((file) => file < maxFiles).length;
    };
    await poll(look, (count) => count === maxFiles, "the number of open files");
  }

  /** Each of the crowd reaches its peer and hears from it. */
  async stands(): Promise<void> {
    for (const [i, { client, channel }] of this.#crowd.entries()) {
      const text = utf8(`member ${i} at ${performance.now()}`);
      const send = () => void client.send(channel, text);
      // A flood fills the system's buffers; what is lost there nobody can relay.
      const timer = setInterval(send, AGAIN_MS);
      send();
      while (!equalBytes((await client.received()).data, text));
      clearInterval(timer);
    }
    assert.equal(await this.metric("failures_total"), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#clients.map(({ ended }) => ended));
    this.#echo.close();
    await this.#child.stdin.close();
    await this.#output.cancel();
    await this.#child.status;
  }

  async #join(): Promise<Member> {
    const client = await this.client();
    await client.allocate();
    const channel = await client.bind({ address: LOOPBACK, port: this.echoPort });
    return { client, channel };
  }

  async #answer(): Promise<void> {
    for await (const [bytes, from] of this.#echo) await this.#echo.send(bytes, from);
  }
}

async function poll(
  look: () => Promise<number>,
  isRight: (value: number) => boolean,
  what: string,
): Promise<void> {
  const deadline = performance.now() + WITHIN_MS;
  for (let value = await look(); !isRight(value); value = await look()) {
    assert.ok(performance.now() < deadline, `${what} stays ${value}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
