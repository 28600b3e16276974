/** A server and peers as real processes, each peer behind a glass proxy, in one temporary folder. */

import { equal } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemHost } from "../../src/base/host.ts";
import { Node, type PeerId } from "../../src/mod.ts";
import { Identity } from "../../src/protocol/crypto/identity.ts";
import { decodeForwardPurge } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import { loadIdentity } from "../../src/roles/identity_store.ts";
import { GlassProxy } from "./glass_proxy.ts";
import { assertNoKeyUsedTwice } from "./key_use.ts";
import { PeerActor } from "./peer_actor.ts";
import { CairnProcess, type ProcessOptions } from "./processes.ts";
import { PSK, ServerActor } from "./server_actor.ts";

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
    seconds = 240,
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

/** Keeps the store of a running process from writing, as a slow disk would, until disposed of. */
export function lockStore({ folder }: { readonly folder: string }): Disposable {
  const database = new DatabaseSync(`${folder}/cairn.kv`, { timeout: 5_000 });
  database.exec("BEGIN IMMEDIATE");
  return { [Symbol.dispose]: () => database.close() };
}

/**
 * Gives a process ample occasion to say something too early. It ends well before the five seconds
 * after which a process gives up on a store that {@linkcode lockStore} has locked.
 */
export async function someTurns(actor: { turn(): Promise<void> }): Promise<void> {
  const start = performance.now();
  for (let turn = 0; turn < 20 && performance.now() - start < 1_500; turn++) await actor.turn();
}

/** Different texts, every second one longer than a frame of the link and a value of the store. */
export function texts(label: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const text = `${label} ${index + 1} `;
    return index % 2 === 0 ? text : text.padEnd(70_000 + index, `${label}-${index} `);
  });
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
