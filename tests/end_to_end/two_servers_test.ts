/* Peers that are paired with two servers, which know nothing of one another. */

import { deepEqual } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { Node, PeerId } from "../../src/mod.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { Journal } from "../support/journal.ts";
import { CairnProcess } from "../support/processes.ts";

const PSK = "correct horse battery staple";
const NAMES = ["laptop", "phone", "desktop"] as const;
const MESSAGES = 60;

for (const way of ["mailboxes", "relays"] as const) {
  Deno.test(`Three peers lose and double nothing when one of two servers dies, by ${way}`, async () => {
    await using home = await TwoServers.open(way);
    const { first, second } = home;
    const talks = NAMES.map((name) => home.talk(name, 0, MESSAGES / 2));
    // In the middle of it: some are on the server that dies, some on their way there.
    await home.came(NAMES.length * MESSAGES / 4);
    await first.kill();
    await Promise.all(talks);
    await Promise.all(NAMES.map((name) => home.talk(name, MESSAGES / 2, MESSAGES)));
    await home.came(NAMES.length * 2 * MESSAGES);
    home.assertAllOnce();

    // It comes back with what it had, all of which came another way.
    await first.start();
    await home.linkedWith(first);
    await second.kill();
    await Promise.all(NAMES.map((name) => home.talk(name, MESSAGES, MESSAGES + 5)));
    await home.came(NAMES.length * 2 * (MESSAGES + 5));
    home.assertAllOnce();
  });
}

class Server {
  #process: CairnProcess | undefined;
  id!: PeerId;

  constructor(
    private readonly folder: string,
    private readonly signalUrl: string,
    private readonly relayed: boolean,
    private readonly deadline: AbortSignal,
  ) {}

  async start(): Promise<void> {
    const process = new CairnProcess([
      ...["server", "--data-dir", this.folder, "--listen-addr", "127.0.0.1:0"],
      ...["--mgmt-port", String(freePort())],
    ], {
      deadline: this.deadline,
      env: {
        CAIRN_PSK: PSK,
        CAIRN_MGMT_TOKEN: "a-token-for-this-test",
        CAIRN_SIGNAL_SERVERS: this.signalUrl,
        ...(!this.relayed && { CAIRN_RELAY_CAPACITY: "0" }),
      },
    });
    this.#process = process;
    this.id = PeerId.from(await printedId(process));
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
    await this.#process?.[Symbol.asyncDispose]();
    this.#process = undefined;
  }
}

async function printedId(process: CairnProcess): Promise<string> {
  for await (const line of process.log) {
    const id = /Qm[1-9A-HJ-NP-Za-km-z]{44}|12D3[1-9A-HJ-NP-Za-km-z]+/.exec(line)?.[0];
    if (id !== undefined && /accepts links/.test(process.log.all.join("\n"))) return id;
  }
  throw new Error(`The server did not start: ${process.log.all.join("\n")}`);
}

/** Two servers, a signaling server, and three peers that talk with one another. */
class TwoServers implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #nodes = new Map<string, Node>();
  readonly #received = new Map<string, string[]>();
  readonly #journal = new Journal();

  private constructor(
    readonly deadline: AbortSignal,
    readonly first: Server,
    readonly second: Server,
  ) {}

  static async open(way: "mailboxes" | "relays"): Promise<TwoServers> {
    const deadline = AbortSignal.timeout(480_000);
    const folder = await Deno.makeTempDir({ prefix: "cairn-two-servers-" });
    const signal = await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [], drainTime: 0 });
    const url = `ws://127.0.0.1:${signal.address.port}`;
    const server = (name: string) =>
      new Server(`${folder}/${name}`, url, way === "relays", deadline);
    const home = new TwoServers(deadline, server("first"), server("second"));
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.defer(() => signal.close());
    for (const each of [home.first, home.second]) {
      home.#stack.defer(() => each.kill());
      await each.start();
    }
    await Promise.all(NAMES.map((name) => home.#join(name, folder, url)));
    return home;
  }

  /** Sends numbered messages from one peer to the two others. */
  async talk(name: string, from: number, end: number): Promise<void> {
    const node = this.#node(name);
    const others = NAMES.filter((other) => other !== name).map((other) => this.#node(other));
    for (let number = from; number < end; number++) {
      const data = utf8(String(number));
      // Both ways have one order.
      const sent = number % 3 === 0
        ? await node.broadcast(name, data, { to: others.map(({ peerId }) => peerId) })
        : await Promise.all(others.map(({ peerId }) => node.send(peerId, name, data)));
      // A sender that waits now and then spreads its messages over the death of a server.
      if (number % 8 === 0) {
        const accepted = Promise.race(sent.map(({ accepted }) => accepted));
        await within(this.deadline, accepted, () => `message ${number} of ${name}`);
      }
    }
  }

  /** Waits until so many messages have come, all in all. */
  async came(count: number): Promise<void> {
    const total = () => [...this.#received.values()].reduce((sum, { length }) => sum + length, 0);
    await within(
      this.deadline,
      this.#journal.until(() => total() >= count),
      () => `${count} messages; ${total()} came`,
    );
  }

  /** Waits until every peer has a link with a server. */
  async linkedWith(server: Server): Promise<void> {
    await Promise.all(NAMES.map((name) =>
      within(
        this.deadline,
        this.#journal.until(() =>
          this.#node(name).pairings().some(({ peerId, connected }) =>
            connected && peerId.equals(server.id)
          )
        ),
        () => `a link of ${name}`,
      )
    ));
  }

  /** Everybody was shown what each of the others sent, in order, once. */
  assertAllOnce(): void {
    for (const [pair, numbers] of this.#received) {
      deepEqual(numbers, numbers.map((_, index) => String(index)), pair);
    }
  }

  async #join(name: string, folder: string, signalServer: string): Promise<void> {
    const node = await Node.create({ storagePath: `${folder}/${name}`, signalServer });
    this.#stack.defer(() => node.close());
    this.#nodes.set(name, node);
    node.on("message", ({ channel, data }) => {
      const pair = `${channel} to ${name}`;
      const numbers = this.#received.get(pair) ?? [];
      this.#received.set(pair, numbers);
      numbers.push(fromUtf8(data));
      this.#journal.add(pair);
    });
    for (const event of ["state", "peerFound"] as const) {
      node.on(event, () => this.#journal.add(event));
    }
    await node.start();
    for (const { id } of [this.first, this.second]) await node.pairWithPsk(PSK, id);
  }

  #node(name: string): Node {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`${name} has not joined`);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
