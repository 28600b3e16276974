// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * The time from `node.send` to the reader's handler: a server in a process of its own, sender and
 * reader in this one, on loopback. All three keep what they must on disk.
 *
 * `deno run -A bench/message_latency.ts`
 */

import { Node } from "../src/mod.ts";
import { cpuMs, reportLine } from "./measured_times.ts";
import { PSK, startMeasuredServer } from "./support/measured_server.ts";

const IDLE_MS = 120;
/** No message takes this long unless something is wrong. */
const LOST_MS = 30_000;

async function measure(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-bench-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const server = stack.use(await startMeasuredServer(`${folder}/server`));
  const open = async (name: string) => {
    const options = { storagePath: `${folder}/${name}`, serverUrl: server.url };
    const node = await Node.create(options);
    stack.defer(() => node.close());
    await node.start();
    await node.pairWithPsk(PSK, server.peerId);
    return node;
  };
  const alice = await open("alice");
  const bob = await open("bob");
  const talk = new Talk(alice, bob);

  await talk.series(40, 64, 0);
  // An answer ends the repetition of the X3DH data, as in any conversation.
  await new Talk(bob, alice).series(1, 64, 0);
  report("64 bytes, after a pause", await talk.series(60, 64, IDLE_MS));
  report("64 bytes, as soon as the last one came", await talk.series(300, 64, 0));
  report("1 KiB, as soon as the last one came", await talk.series(300, 1_024, 0));
  for (const size of [60_000, 200_000, 1_000_000]) {
    report(`${size} bytes, after a pause`, await talk.series(25, size, IDLE_MS));
  }
  const bursts: number[] = [];
  const firsts: number[] = [];
  const before = [cpuMs(), await server.cpuMs()] as const;
  for (let i = 0; i < 10; i++) {
    const { first, last } = await talk.burst(100, 64);
    firsts.push(first);
    bursts.push(last);
  }
  report("burst of 100: until the first came", firsts);
  report("burst of 100: until the last came", bursts);
  const messages = 100 * bursts.length;
  const peers = (cpuMs() - before[0]) / messages;
  const served = (await server.cpuMs() - before[1]) / messages;
  console.log(
    `CPU for each message of a burst: ${served.toFixed(2)} ms at the server, ` +
      `${peers.toFixed(2)} ms at sender and reader together`,
  );
}

function report(name: string, times: readonly number[]): void {
  console.log(reportLine(name, times));
}

/** Messages one way, timed from `send` to the other node's handler. */
class Talk {
  readonly #waiting: (() => void)[] = [];

  constructor(readonly from: Node, readonly to: Node) {
    to.on("message", (message) => {
      if (message.from.equals(from.peerId)) this.#waiting.shift()?.();
    });
  }

  /** One message after another, `pause` milliseconds apart. */
  async series(count: number, size: number, pause: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      times.push(await this.#one(new Uint8Array(size).fill(i)));
    }
    return times;
  }

  /** All at once. */
  async burst(count: number, size: number): Promise<{ first: number; last: number }> {
    const times = await Promise.all(
      Array.from({ length: count }, () => this.#one(new Uint8Array(size))),
    );
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    return { first: Math.min(...times), last: Math.max(...times) };
  }

  async #one(data: Uint8Array): Promise<number> {
    const start = performance.now();
    const arrival = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("A message did not arrive")), LOST_MS);
      this.#waiting.push(() => resolve(clearTimeout(timer)));
    });
    await this.from.send(this.to.peerId, "", data);
    await arrival;
    return performance.now() - start;
  }
}

await measure();
