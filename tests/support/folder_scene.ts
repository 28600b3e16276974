import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { createServer, Node, type PeerId, type ReceivedMessage } from "../../src/mod.ts";
import { deviceLabel } from "../../src/protocol/folder/folder_path.ts";
import type { FolderEvent } from "../../src/roles/folder/folder_events.ts";
import { FolderSync } from "../../src/roles/folder/folder_sync.ts";
import type { FolderSyncOptions } from "../../src/roles/folder/folder_sync_options.ts";
import { within } from "./deadline.ts";

const PSK = "correct horse battery staple";

/** A server and devices that share a folder, in this process, below a temporary folder. */
export class FolderScene implements AsyncDisposable {
  readonly devices = new Map<string, FolderDevice>();
  readonly ids = new Map<string, PeerId>();

  private constructor(
    readonly root: string,
    readonly server: ReturnType<typeof createServer>,
    readonly deadline: AbortSignal,
  ) {}

  static async open(
    names: readonly string[],
    { waitMs = 120_000, mailboxBytes = 2 ** 30 } = {},
  ): Promise<FolderScene> {
    const root = await Deno.makeTempDir({ prefix: "cairn-folder-" });
    const server = createServer({
      storagePath: `${root}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      forward: { maxTotalBytes: mailboxBytes },
      psk: PSK,
    });
    await server.start();
    const scene = new FolderScene(root, server, AbortSignal.timeout(waitMs));
    for (const name of names) {
      const device = new FolderDevice(scene, name);
      await device.pair();
      scene.devices.set(name, device);
    }
    return scene;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.server.addresses.links.port}`;
  }

  idOf(name: string): PeerId {
    const id = this.ids.get(name);
    if (!id) throw new Error(`There is no device ${name}`);
    return id;
  }

  device(name: string): FolderDevice {
    const device = this.devices.get(name);
    if (!device) throw new Error(`There is no device ${name}`);
    return device;
  }

  /** Starts every device; resolves when all of them have the same files. */
  async startAll(): Promise<void> {
    for (const device of this.devices.values()) await device.start();
    await Promise.all([...this.devices.values()].map((device) => device.settled()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.devices.values()) await device.stop();
    await this.server.close();
    await Deno.remove(this.root, { recursive: true });
  }
}

/** One device of a scene: its folder, and while it runs its node and sync. */
export class FolderDevice {
  readonly events: FolderEvent[] = [];
  node: Node | undefined;
  sync: FolderSync | undefined;

  constructor(private readonly scene: FolderScene, readonly name: string) {}

  get folder(): string {
    return `${this.scene.root}/${this.name}-files`;
  }

  async pair(): Promise<void> {
    const node = await this.#createNode();
    await node.start();
    await node.pairWithPsk(PSK, this.scene.server.peerId);
    this.scene.ids.set(this.name, node.peerId);
    await node.close();
  }

  async start(options: Partial<FolderSyncOptions> = {}): Promise<void> {
    const node = this.node = await this.#createNode();
    this.sync = await FolderSync.open({
      node,
      directory: this.folder,
      storePath: `${this.scene.root}/${this.name}-index.kv`,
      name: "photos",
      label: deviceLabel(this.name),
      pushLimit: 2 ** 28,
      rescanEvery: 60_000,
      onEvent: (event) => this.events.push(event),
      ...options,
    });
    await this.sync.start();
    await node.start();
  }

  async stop(): Promise<void> {
    await this.sync?.close();
    await this.node?.close();
    this.sync = this.node = undefined;
  }

  /** Stops; resolves when `other` knows that it is away. */
  async leave(other: FolderDevice): Promise<void> {
    await this.stop();
    const isAway = () => !other.node?.rosterMember(this.scene.idOf(this.name)).online;
    await other.until(isAway, `${this.name} to be away`);
  }

  /** The same once more. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The next message that waits for this device, which must not run. */
  async nextMessage(): Promise<ReceivedMessage> {
    const node = this.node = await this.#createNode();
    const message = new Promise<ReceivedMessage>((resolve) => node.on("message", resolve));
    await node.start();
    return await within(this.scene.deadline, message, () => `a message for ${this.name}`);
  }

  async write(path: string, content: string | Uint8Array<ArrayBuffer>): Promise<void> {
    await Deno.mkdir(dirname(join(this.folder, path)), { recursive: true });
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(join(this.folder, path), bytes);
  }

  async remove(path: string): Promise<void> {
    await Deno.remove(join(this.folder, path));
  }

  read(path: string): Promise<string> {
    return Deno.readTextFile(join(this.folder, path));
  }

  /** Resolves when this device and those that are there have the same files. */
  async settled(): Promise<void> {
    await this.until(() => this.sync?.isSettled() ?? false, "the folder to be in step");
  }

  #createNode(): Promise<Node> {
    const storagePath = `${this.scene.root}/${this.name}`;
    return Node.create({ storagePath, serverUrl: this.scene.url });
  }

  async until(isTrue: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const { deadline } = this.scene;
    while (!await isTrue()) {
      const moment = new Promise((resolve) => setTimeout(resolve, 50));
      const sync = this.sync ? [this.sync.failed] : [];
      await within(
        deadline,
        Promise.race([moment, ...sync]),
        () =>
          `${what}, on ${this.name}:\n${
            this.events.map((each) => JSON.stringify(each)).join("\n")
          }`,
      );
    }
  }
}

/** Every file of a folder that is not the program's own: path, executable, contents. */
export async function filesOf(folder: string, below = ""): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const { name, isDirectory, isFile } of await entriesOf(join(folder, below))) {
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) Object.assign(files, await filesOf(folder, path));
    if (!isFile || name.startsWith(".cairn")) continue;
    const seen = await look(join(folder, path));
    if (seen !== undefined) files[path] = seen;
  }
  return Object.fromEntries(Object.entries(files).sort(([a], [b]) => a < b ? -1 : 1));
}

/** Nothing for a folder that has just gone. */
async function entriesOf(folder: string): Promise<Deno.DirEntry[]> {
  try {
    return await Array.fromAsync(Deno.readDir(folder));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Nothing for a file that has just gone. */
async function look(path: string): Promise<string | undefined> {
  try {
    const { mode, size } = await Deno.stat(path);
    const hash = createHash("sha256");
    // The stream closes the file.
    for await (const chunk of (await Deno.open(path)).readable) hash.update(chunk);
    return `${(mode ?? 0) & 0o100 ? "x" : "-"} ${size} ${hash.digest("hex").slice(0, 16)}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
