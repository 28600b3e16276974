/* Devices of one household that are seldom online together. */

import { deepEqual } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { type Host, systemHost } from "../../src/base/host.ts";
import { createServer, Node } from "../../src/mod.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { Journal } from "../support/journal.ts";

const PSK = "correct horse battery staple";
const DAY_MS = 86_400_000;
const DEVICES = ["laptop", "phone", "desktop"] as const;
type Device = typeof DEVICES[number];

Deno.test("Three devices write while one is away for a week, and all end with the same", async () => {
  await using home = await Household.open();
  for (const name of DEVICES) await home.write(name, 3);
  await home.everybodyHasEverything();

  await home.leave("phone");
  // It writes on its way, too: without a server its messages wait with it.
  await home.writeAlone("phone", 4);
  for (let day = 0; day < 7; day++) {
    home.pass(DAY_MS);
    await home.write("laptop", 2);
    await home.write("desktop", 2);
    // Now and then they are not there together either, nor is the server.
    if (day === 2) await home.leave("desktop");
    if (day === 3) await home.come("desktop");
    if (day === 4) await home.restartServer();
    await home.accepted();
  }
  await home.come("phone");
  await home.write("phone", 2);
  await home.write("laptop", 1);
  await home.everybodyHasEverything();
});

/** One server, and three devices that tell one another everything. */
class Household implements AsyncDisposable {
  readonly #nodes = new Map<Device, Node>();
  readonly #sent = new Map<Device, string[]>();
  readonly #shown = new Map<string, string[]>();
  readonly #ids = new Map<Device, Node["peerId"]>();
  readonly #journal = new Journal();
  readonly #deadline = AbortSignal.timeout(240_000);
  readonly #host: Host;
  #offset = 0;
  #server!: ReturnType<typeof createServer>;
  readonly #port = freePort();
  #accepted: Promise<void>[] = [];

  private constructor(readonly folder: string) {
    this.#host = {
      now: () => systemHost.now() + this.#offset,
      monotonic: () => systemHost.monotonic() + this.#offset,
      random: (length) => systemHost.random(length),
    };
  }

  static async open(): Promise<Household> {
    const home = new Household(await Deno.makeTempDir({ prefix: "cairn-week-" }));
    await home.#startServer();
    for (const name of DEVICES) await home.come(name, { pairs: true });
    return home;
  }

  pass(ms: number): void {
    this.#offset += ms;
  }

  async come(name: Device, { pairs = false } = {}): Promise<void> {
    const node = await this.#open(name);
    node.on("message", ({ from, data }) => {
      const sender = DEVICES.find((each) => this.#ids.get(each)?.equals(from));
      const key = `${sender} at ${name}`;
      this.#shown.set(key, [...this.#shown.get(key) ?? [], fromUtf8(data)]);
      this.#journal.add(key);
    });
    await node.start();
    if (pairs) await node.pairWithPsk(PSK, this.#server.peerId);
  }

  async leave(name: Device): Promise<void> {
    await this.#nodes.get(name)?.close();
    this.#nodes.delete(name);
  }

  /** Tells the others so many things. */
  async write(name: Device, count: number): Promise<void> {
    const node = this.#nodes.get(name);
    if (!node) return;
    const written = this.#sent.get(name) ?? [];
    this.#sent.set(name, written);
    const to = DEVICES.filter((each) => each !== name).map((each) => this.#ids.get(each)!);
    for (let index = 0; index < count; index++) {
      const text = `${name} ${written.length}`;
      written.push(text);
      const sent = await node.broadcast("notes", utf8(text.padEnd(index * 4_000, " .")), { to });
      this.#accepted.push(...sent.map(({ accepted }) => accepted));
    }
  }

  /** The same where nobody can be reached. */
  async writeAlone(name: Device, count: number): Promise<void> {
    const before = this.#accepted.length;
    await this.#open(name);
    await this.write(name, count);
    const waiting = this.#accepted.splice(before).map((each) => each.catch(() => {}));
    await this.leave(name);
    await Promise.all(waiting);
  }

  async accepted(): Promise<void> {
    await within(this.#deadline, Promise.allSettled(this.#accepted), () => "the mailbox");
    this.#accepted = [];
  }

  async restartServer(): Promise<void> {
    await this.#server.close();
    await this.#startServer();
  }

  /** Every device has what each of the others wrote, in the order in which it was written. */
  async everybodyHasEverything(): Promise<void> {
    const pairs = DEVICES.flatMap((reader) =>
      DEVICES.filter((each) => each !== reader).map((sender) => ({ sender, reader }))
    );
    const texts = ({ sender, reader }: typeof pairs[number]) =>
      (this.#shown.get(`${sender} at ${reader}`) ?? []).map((text) => text.replace(/[ .]+$/, ""));
    const missing = () =>
      pairs.filter((pair) => texts(pair).length < (this.#sent.get(pair.sender)?.length ?? 0));
    await within(
      this.#deadline,
      this.#journal.until(() => missing().length === 0),
      () => missing().map(({ sender, reader }) => `what ${sender} told ${reader}`).join(", "),
    );
    for (const pair of pairs) deepEqual(texts(pair), this.#sent.get(pair.sender));
  }

  async #open(name: Device): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      serverUrl: `ws://127.0.0.1:${this.#port}`,
      host: this.#host,
    });
    this.#nodes.set(name, node);
    this.#ids.set(name, node.peerId);
    return node;
  }

  async #startServer(): Promise<void> {
    this.#server = createServer({
      storagePath: `${this.folder}/server`,
      listenAddr: `127.0.0.1:${this.#port}`,
      management: { enabled: false },
      psk: PSK,
      forward: { maxAgeMs: 14 * DAY_MS },
      host: this.#host,
    });
    await this.#server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#nodes.keys()]) await this.leave(name);
    await this.#server.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}
