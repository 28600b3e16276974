import assert from "node:assert/strict";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { ForeignClient } from "./foreign_client.ts";
import { RawWebSocket } from "./raw_web_socket.ts";
import type { SelfSigned } from "./self_signed.ts";

export const TOKEN = "the token of the attacked server";
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const CROWD = 50;
const AT_ONCE = 5;
/** Most milliseconds until a connection is gone from the system's table, however busy it is. */
const GONE_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 20;
/** FIN-WAIT-2, TIME-WAIT, and the listener. */
const FINISHED = ["05", "06", "0A"];

/** A signaling server in a process of its own, with fifty clients that do nothing wrong. */
export class AttackedSignal {
  readonly port: number;
  readonly crowd: readonly ForeignClient[];
  readonly #tls: SelfSigned | undefined;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  #hasEnded = false;

  private constructor(
    child: Deno.ChildProcess,
    output: ReadableStreamDefaultReader<string>,
    port: number,
    tls: SelfSigned | undefined,
    crowd: readonly ForeignClient[],
  ) {
    this.#tls = tls;
    this.#child = child;
    this.#output = output;
    this.port = port;
    this.crowd = crowd;
    void child.status.then(() => this.#hasEnded = true);
  }

  static async start(
    limits: Readonly<Record<string, number>> = {},
    tls?: SelfSigned,
  ): Promise<AttackedSignal> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-lock", "--unstable-kv", "--unstable-net"],
        new URL("signal_process.ts", import.meta.url).pathname,
        JSON.stringify(limits),
        TOKEN,
        ...(tls ? [tls.certPath, tls.keyPath] : []),
      ],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await output.read();
    const port = Number(value);
    assert.ok(port > 0, "the server says its port");
    const crowd: ForeignClient[] = [];
    // All at once they would take one another the time that a handshake may last.
    for (let group = 0; group < CROWD / AT_ONCE; group++) {
      const connecting = Array.from({ length: AT_ONCE }, () => AttackedSignal.#connect(port, tls));
      crowd.push(...await Promise.all(connecting));
    }
    await Promise.all(crowd.map((client, i) => client.subscribe(topicOf(i))));
    return new AttackedSignal(child, output, port, tls, crowd);
  }

  static #connect(port: number, tls: SelfSigned | undefined): Promise<ForeignClient> {
    return ForeignClient.open(`${tls ? "wss" : "ws"}://127.0.0.1:${port}`, {
      headers: AUTHORIZED,
      ...(tls && { ca: tls.cert }),
    });
  }

  client(): Promise<ForeignClient> {
    return AttackedSignal.#connect(this.port, this.#tls);
  }

  raw(): Promise<RawWebSocket> {
    const caCerts = this.#tls && [this.#tls.cert];
    return RawWebSocket.open(this.port, { headers: AUTHORIZED, ...(caCerts && { caCerts }) });
  }

  /** A connection on which nothing has been said, over TLS if the server wants that. */
  stranger(): Promise<Deno.TcpConn | Deno.TlsConn> {
    return this.#tls
      ? Deno.connectTls({ hostname: "localhost", port: this.port, caCerts: [this.#tls.cert] })
      : Deno.connect({ hostname: "127.0.0.1", port: this.port });
  }

  /** Milliseconds that a message takes through the server and its answer back, median of all. */
  async medianLatency(rounds: number): Promise<number> {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) times.push(...await this.#relayBetweenAll());
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length / 2)] ?? NaN;
  }

  /** Each of the crowd hears from its neighbour, and hears that alone. */
  async #relayBetweenAll(): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < this.crowd.length; i += 2) {
      const [ann, bob] = [this.crowd[i]!, this.crowd[i + 1]!];
      const payload = crypto.getRandomValues(new Uint8Array(64));
      const there = encodeSignalFrame({ kind: "Relay", topic: topicOf(i + 1), payload });
      const back = encodeSignalFrame({ kind: "Relay", topic: topicOf(i), payload });
      const start = performance.now();
      ann.send(there);
      assert.deepEqual(await nextOf(bob), new Uint8Array(there));
      bob.send(back);
      assert.deepEqual(await nextOf(ann), new Uint8Array(back));
      times.push(performance.now() - start);
    }
    return times;
  }

  /** Most bytes of the server's process that have been in memory at a time. */
  peakMemory(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  }

  /**
   * Remote ports of the connections that the server's side of the system's table has, in whatever
   * state but FIN-WAIT-2 and TIME-WAIT, in which all was delivered and nothing is kept.
   */
  connections(): Set<number> {
    const remotes = new Set<number>();
    for (const table of ["tcp", "tcp6"]) {
      for (const line of Deno.readTextFileSync(`/proc/net/${table}`).split("\n").slice(1)) {
        const [, local = "", remote = "", state] = line.trim().split(/\s+/);
        if (portOf(local) === this.port && !FINISHED.includes(state ?? "")) {
          remotes.add(portOf(remote));
        }
      }
    }
    return remotes;
  }

  /**
   * Waits until the system's table has none of `remotes` any more. `step` runs before each look, and
   * the others are served meanwhile, at a pace that keeps them within their limits.
   */
  async gone(
    remotes: ReadonlySet<number>,
    step: () => Promise<unknown> = () => Promise.resolve(),
  ): Promise<void> {
    assert.ok(this.connections().size >= this.crowd.length, "the table shows connections");
    const deadline = performance.now() + GONE_WITHIN_MS;
    while (this.connections().intersection(remotes).size > 0) {
      assert.ok(performance.now() < deadline, "the system's table still has it");
      await step();
      await this.#relayBetweenAll();
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  /** The process runs, all of the crowd are served, and a newcomer is let in. */
  async stands(): Promise<void> {
    assert.ok(!this.#hasEnded, "the process runs");
    await this.#relayBetweenAll();
    const newcomer = await this.client();
    await newcomer.settled();
    newcomer.socket.close();
    await newcomer.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.crowd) socket.close();
    await Promise.all(this.crowd.map(({ closed }) => closed));
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
    await this.#child.stdin.abort().catch(() => {});
    await this.#output.cancel();
    await this.#child.status;
  }
}

function nextOf(member: ForeignClient): Promise<Uint8Array> {
  const noticed = member.closed.then(({ code }) => {
    throw new Error(`One of the crowd was closed with ${code}`);
  });
  return Promise.race([member.next(), noticed]);
}

function topicOf(member: number): string {
  return `crowd ${member}`.padEnd(64, ".");
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(":") + 1), 16);
}
