import { deepEqual, equal, ok } from "node:assert/strict";
import { fromBase64, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import type { PeerId } from "../../src/mod.ts";
import { decodeForwardRequest, type ForwardRequest } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { RemoteNode } from "../../src/roles/peer/remote_node.ts";
import type { CrashScene } from "./crash_scene.ts";
import { within } from "./deadline.ts";
import type { GlassProxy } from "./glass_proxy.ts";
import type { CairnProcess, ProcessOptions } from "./processes.ts";

/** A message as `cairn peer listen --json` prints it. */
export interface PrintedMessage {
  readonly from: string;
  readonly id: string;
  readonly channel: string;
  readonly text: string;
}

/** A message on its way. */
export interface Sent {
  readonly id: string;
  /** Resolves when a server holds it durably. */
  readonly accepted: Promise<void>;
}

/** A peer, its data folder, and its way to the server. */
export class PeerActor {
  readonly #readers: CairnProcess[] = [];
  /** Ids of lines that come once more because a kill came before their acknowledgement. */
  readonly #toRepeat: string[] = [];
  readonly #expected: { from: PeerId; text: string }[] = [];

  constructor(
    private readonly scene: CrashScene,
    readonly name: string,
    public folder: string,
    readonly id: PeerId,
    readonly proxy: GlassProxy,
  ) {}

  /** `cairn peer listen`. */
  listen(options: Pick<ProcessOptions, "blockOutput"> = {}): CairnProcess {
    const reader = this.scene.start([...this.#command("listen"), "--json"], options);
    this.#readers.push(reader);
    return reader;
  }

  /** `cairn peer listen`, once its link to the server is up and it takes messages to send. */
  async listenOnline(): Promise<CairnProcess> {
    const online = this.proxy.nextOf("down", MessageType.MailboxStatus);
    const reader = this.listen();
    await online;
    return reader;
  }

  /** Hands messages over before any can leave, so that all of them leave in one go, when released. */
  async prepare(
    to: PeerActor,
    texts: readonly string[],
  ): Promise<{ sender: CairnProcess; sent: Sent[] }> {
    this.proxy.hold("down", MessageType.MailboxStatus);
    const sender = await this.listenOnline();
    return { sender, sent: await this.handOver(to, texts) };
  }

  /** `cairn peer send`. */
  send(to: PeerActor, text: string, channel = ""): CairnProcess {
    to.#expected.push({ from: this.id, text });
    const file = `${this.scene.folder}/${crypto.randomUUID()}`;
    Deno.writeTextFileSync(file, text);
    const target = [to.id.toString(), "--file", file, "--channel", channel];
    return this.scene.start([...this.#command("send"), ...target]);
  }

  /** `cairn peer send`, to the end; the id that it printed. */
  async sendAccepted(to: PeerActor, text: string, channel?: string): Promise<string> {
    const sending = this.send(to, text, channel);
    const status = await sending.exit();
    equal(status, 0, sending.log.all.join("\n"));
    return sending.output.all[0] ?? "";
  }

  /** Resolves after a turn of the event loop of its `cairn peer listen`. */
  async turn(): Promise<void> {
    const node = await this.#reach();
    await node.close();
  }

  /** A message that its sender lost with its folder: it need not arrive any more. */
  forgo(text: string): void {
    this.#expected.splice(this.#expected.findIndex((expected) => expected.text === text), 1);
  }

  /** One message there and one back, each read: both now write in a session that exists. */
  async converse(other: PeerActor, topic: string): Promise<void> {
    await this.sendAccepted(other, `${topic}: question`);
    await other.readAll();
    await other.sendAccepted(this, `${topic}: answer`);
    await this.readAll();
  }

  /** Hands messages to this peer's `cairn peer listen`, as `cairn peer send` does beside it. */
  async handOver(to: PeerActor, texts: readonly string[], channel = ""): Promise<Sent[]> {
    const sent: Sent[] = [];
    for (const text of texts) {
      const node = await this.#reach();
      const { id, accepted } = await this.#within(
        node.send(to.id, channel, utf8(text)),
        "taking over a message",
      );
      to.#expected.push({ from: this.id, text });
      const settled = this.#within(accepted, "the acceptance of a message")
        .finally(() => node.close());
      settled.catch(() => {}); // It fails when the process is killed.
      sent.push({ id, accepted: settled });
    }
    return sent;
  }

  /** Every message that was ever printed, repeats included. */
  printed(): PrintedMessage[] {
    return this.#readers.flatMap((reader) => reader.output.all.map(parseLine));
  }

  /** What left this peer for its server, as the proxy saw it. */
  requests(): ForwardRequest[] {
    return this.proxy.all("up", MessageType.ForwardRequest)
      .map(({ payload }) => decodeForwardRequest(payload));
  }

  /** Keys and values of the data folder, whose owner must not run, under a prefix. */
  async stored(prefix: Deno.KvKey): Promise<Deno.KvEntry<unknown>[]> {
    const list = async () => {
      using kv = await Deno.openKv(`${this.folder}/cairn.kv`);
      return await Array.fromAsync(kv.list<unknown>({ prefix }));
    };
    return await this.#within(list(), "reading a data folder");
  }

  async storedAt(key: Deno.KvKey): Promise<unknown> {
    using kv = await Deno.openKv(`${this.folder}/cairn.kv`);
    return (await kv.get<unknown>(key)).value;
  }

  /** Comes, takes all that waits until the server has nothing more, and goes again. */
  async readAll(): Promise<void> {
    const known = new Set(this.printed().map(({ id }) => id));
    const again = (await this.stored(["inbox"]))
      .filter(({ value }) => known.has(uuidOf(String(value))));
    const drained = this.proxy.nextOf("down", MessageType.MailboxDrained);
    const reader = this.listen();
    await reader.output.first(again.length + this.#expected.length - known.size);
    await drained;
    equal(await reader.end(), 0);
  }

  /**
   * Kills a reader with SIGKILL. What it has printed but not acknowledged must be printed once more;
   * resolves to what the inbox now holds, in order.
   */
  async kill(reader: CairnProcess): Promise<string[]> {
    await reader.kill();
    this.proxy.cut();
    const open = (await this.stored(["inbox"])).map(({ value }) => uuidOf(String(value)));
    const printed = reader.output.all.map((line) => parseLine(line).id);
    this.#toRepeat.push(...printed.filter((id) => open.includes(id)));
    return open;
  }

  /** Asserts that everything sent to this peer was printed once, and in order per sender. */
  async assertAllArrived(): Promise<void> {
    const allowed = [...this.#toRepeat];
    const printed = this.printed().filter(({ id }) => {
      const index = allowed.indexOf(id);
      if (index >= 0) allowed.splice(index, 1);
      return index < 0;
    });
    deepEqual(await this.stored(["inbox"]), [], "nothing waits for the application");
    deepEqual(await this.stored(["held"]), [], "nothing waits for an earlier message");
    equal(new Set(printed.map(({ id }) => id)).size, printed.length, "no id was printed twice");
    for (const { id } of this.scene.everyone) {
      const came = printed.filter(({ from }) => from === id.toString()).map(({ text }) => text);
      const sent = this.#expected.filter(({ from }) => from.equals(id)).map(({ text }) => text);
      deepEqual(came.map(digest), sent.map(digest));
    }
  }

  /** Reaches its `cairn peer listen`. */
  async #reach(): Promise<RemoteNode> {
    const node = await this.#within(RemoteNode.connect(this.folder), "an answer of cairn listen");
    ok(node, `Nobody listens on the data folder of ${this.name}`);
    return node;
  }

  #within<T>(promise: Promise<T>, what: string): Promise<T> {
    return within(this.scene.deadline, promise, () => `${what}, ${this.name}`);
  }

  #command(verb: string): string[] {
    return ["peer", verb, "--data-dir", this.folder, "--server-url", this.proxy.url];
  }
}

export function parseLine(line: string): PrintedMessage {
  const { data_base64, ...message } = JSON.parse(line);
  return data_base64 === undefined
    ? message
    : { ...message, text: fromUtf8(fromBase64(data_base64)) };
}

function uuidOf(inboxValue: string): string {
  const hex = inboxValue.slice(inboxValue.indexOf(" ") + 1);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Long texts would drown the difference that an assertion shows. */
function digest(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 40)}… ${text.length}`;
}
