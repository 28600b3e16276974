/** A server and peers as real processes, each peer behind a glass proxy, in one temporary folder. */

import { deepEqual, equal, ok } from "node:assert/strict";
import { fromBase64, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { Node, type PeerId } from "../../src/mod.ts";
import { Identity } from "../../src/protocol/crypto/identity.ts";
import {
  decodeForwardPurge,
  decodeForwardRequest,
  type ForwardRequest,
} from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import { loadIdentity } from "../../src/roles/identity_store.ts";
import { RemoteNode } from "../../src/roles/peer/handover.ts";
import { GlassProxy } from "./glass_proxy.ts";
import { assertNoKeyUsedTwice } from "./key_use.ts";
import { CairnProcess, type ProcessOptions } from "./processes.ts";

const PSK = "correct horse battery staple";
const TOKEN = "token-of-the-crash-tests";
const LOOPBACK = "127.0.0.1";

/** Everything of one crash test; at its end all processes and files are gone. */
export class CrashScene implements AsyncDisposable {
  readonly server: ServerActor;
  readonly #peers: PeerActor[] = [];
  readonly #stack = new AsyncDisposableStack();

  private constructor(readonly folder: string, readonly deadline: AbortSignal, serverId: PeerId) {
    this.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    this.server = this.#stack.use(new ServerActor(this, serverId));
  }

  /** Starts a server and pairs peers of these names with it. All must be over in `seconds`. */
  static async open<Name extends string>(
    names: readonly Name[],
    seconds = 60,
  ): Promise<CrashScene & { readonly peers: Readonly<Record<Name, PeerActor>> }> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-crash-" });
    const serverId = await makeIdentity(`${folder}/server`);
    const scene = new CrashScene(folder, AbortSignal.timeout(seconds * 1000), serverId);
    try {
      await scene.server.start();
      const peers: Partial<Record<Name, PeerActor>> = {};
      for (const name of names) peers[name] = await scene.#join(name);
      return Object.assign(scene, { peers: peers as Record<Name, PeerActor> });
    } catch (error) {
      await scene[Symbol.asyncDispose]();
      throw error;
    }
  }

  get everyone(): readonly PeerActor[] {
    return this.#peers;
  }

  /** Starts `cairn` with `args`; it ends with the scene at the latest. */
  start(args: readonly string[], options: Omit<ProcessOptions, "deadline"> = {}): CairnProcess {
    const { deadline } = this;
    const env = { RUST_LOG: "debug", CAIRN_LOG_FORMAT: "json", ...options.env };
    return this.#stack.use(new CairnProcess(args, { ...options, deadline, env }));
  }

  /**
   * The end of every story: what was sent has come, once and in order per sender, and no ratchet
   * key has met two plaintexts. `unopened` is how many deliveries could not be opened.
   */
  async assertAllArrived({ unopened = 0 } = {}): Promise<void> {
    for (const peer of this.#peers) await peer.assertAllArrived();
    const failed = this.#peers.flatMap(({ proxy }) => proxy.all("up", MessageType.ForwardPurge))
      .flatMap(({ payload }) => decodeForwardPurge(payload).failed);
    equal(failed.length, unopened, "deliveries that could not be opened");
    assertNoKeyUsedTwice(this.#peers.flatMap((peer) => peer.requests()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #join(name: string): Promise<PeerActor> {
    const proxy = this.#stack.use(await GlassProxy.open(this.deadline));
    proxy.leadTo(this.server.url);
    const folder = `${this.folder}/${name}`;
    const node = await Node.create({ storagePath: folder, serverUrl: proxy.url });
    await node.start();
    try {
      await node.pairWithPsk(PSK, this.server.id);
    } finally {
      await node.close();
    }
    const peer = new PeerActor(this, name, folder, node.peerId, proxy);
    proxy.seeThrough({
      server: await readIdentity(this.server.folder),
      peer: await readIdentity(folder),
    });
    this.#peers.push(peer);
    return peer;
  }
}

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
    ], { env: { CAIRN_PSK: PSK, CAIRN_MGMT_TOKEN: TOKEN } });
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
      const node = await RemoteNode.connect(this.folder);
      ok(node, `Nobody listens on the data folder of ${this.name}`);
      const { id, accepted } = await node.send(to.id, channel, utf8(text));
      to.#expected.push({ from: this.id, text });
      const settled = accepted.finally(() => node.close());
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
    using kv = await Deno.openKv(`${this.folder}/cairn.kv`);
    return await Array.fromAsync(kv.list<unknown>({ prefix }));
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

  #command(verb: string): string[] {
    return ["peer", verb, "--data-dir", this.folder, "--server-url", this.proxy.url];
  }
}

/** Different texts, every second one longer than a frame of the link and a value of the store. */
export function texts(label: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const text = `${label} ${index + 1} `;
    return index % 2 === 0 ? text : text.padEnd(70_000 + index, `${label}-${index} `);
  });
}

export function parseLine(line: string): PrintedMessage {
  const { data_base64, ...message } = JSON.parse(line);
  return data_base64 === undefined
    ? message
    : { ...message, text: fromUtf8(fromBase64(data_base64)) };
}

/** The identity of a data folder that no process has open. */
export async function readIdentity(folder: string): Promise<Identity> {
  using kv = await Deno.openKv(`${folder}/cairn.kv`);
  const { value } = await kv.get<{ seed: Uint8Array }>(["identity"]);
  if (!value) throw new Error(`No identity in ${folder}`);
  return Identity.fromSeed(value.seed);
}

async function makeIdentity(path: string): Promise<PeerId> {
  const folder = await openDataFolder({ path, kind: "server" });
  try {
    return (await loadIdentity(folder.kv, systemHost)).identity.peerId;
  } finally {
    await folder.close();
  }
}

async function linkPort(server: CairnProcess): Promise<number> {
  for await (const line of server.log) {
    const { message, properties } = line.startsWith("{") ? JSON.parse(line) : { message: line };
    if (/accepts links/.test(message)) return properties.port;
  }
  throw new Error(`The server did not start: ${server.log.all.join("\n")}`);
}

/** The management port is not logged, so one is chosen that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: LOOPBACK, port: 0 });
  return listener.addr.port;
}

function uuidOf(inboxValue: string): string {
  const hex = inboxValue.slice(inboxValue.indexOf(" ") + 1);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Long texts would drown the difference that an assertion shows. */
function digest(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 40)}… ${text.length}`;
}
