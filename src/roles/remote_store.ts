import { getLogger } from "@logtape/logtape";
import { fromHex, toHex, utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import { type DataFolder, type DataFolderKind, makeFolder, takeLock } from "./data_folder.ts";
import { copyRemoteStore } from "./remote_copy.ts";
import { StoreLease } from "./store_lease.ts";
import { copyPath, migrateStore, type Migrations } from "./store_migration.ts";
import { firstRecord, FORMAT_VERSION, META_KEY, requireUsable } from "./store_record.ts";
import type { StoreRecord } from "./store_record.ts";

const log = getLogger(["cairn", "data-folder"]);

const MARKER_FILE = "remote_store.json";
const COPY_FILE = "remote_store.kv";
const REACHED_WITHIN = 15_000;

export interface RemoteStoreOptions {
  readonly url: string;
  /** Holds what belongs to this machine, and the copy that a migration makes. */
  readonly folder: string;
  readonly kind: DataFolderKind;
  readonly host: Host;
  /** As in `openDataFolder`. */
  readonly migrations: Migrations;
}

/** What a folder remembers of the store that it used last. */
interface Marker {
  readonly folderId: string;
  readonly generation: number;
  /** Who we were towards the store; the lock of the folder tells that this one is gone. */
  readonly owner: string;
}

/**
 * Opens a store that a KV Connect server keeps, for one process at a time on all machines that can
 * reach it; the folder holds what belongs to this machine. Deno reads the access token from
 * `DENO_KV_ACCESS_TOKEN`. That an older copy of the store was put back shows in this folder only.
 *
 * @throws {CairnError} `data-folder-in-use`, `unreachable`, `invalid-option` without the access
 * token, and as `openDataFolder` does.
 */
export async function openRemoteStore(
  options: RemoteStoreOptions,
): Promise<DataFolder> {
  const { url, folder, host } = options;
  await makeFolder(folder);
  const lock = await takeLock(folder);
  let kv: Deno.Kv | undefined;
  let lease: StoreLease | undefined;
  try {
    const marker = await readMarker(folder);
    const owner = host.random(16);
    kv = await reach(url);
    lease = await StoreLease.take(kv, {
      owner,
      formerOwner: marker && fromHex(marker.owner),
      host,
      store: url,
    });
    const fenced = fencedBy(kv, lease.fence);
    const { record, restored } = await adopt(fenced, marker, options);
    const remember = ({ folderId, generation }: StoreRecord) =>
      writeMarker(folder, { folderId: toHex(folderId), generation, owner: toHex(owner) });
    await fenced.set(META_KEY, record);
    await remember(record);
    if (restored) {
      log.warn("The store {url} was restored; it continues under a new store id", { url });
    }
    return new RemoteStore(folder, fenced, lock, lease, record, restored, remember);
  } catch (error) {
    // Only a store that answers is refused with a reason; another one would be waited for.
    if (error instanceof CairnError) await lease?.release().catch(() => {});
    lease?.abandon();
    kv?.close();
    lock.close();
    throw error;
  }
}

class RemoteStore implements DataFolder {
  readonly isRemote = true;
  /** Somebody else's disk: its keeper says when it is full. */
  readonly reserve = { release: () => Promise.resolve(false), refill: () => Promise.resolve() };
  #closed = false;

  constructor(
    readonly path: string,
    readonly kv: Deno.Kv,
    private readonly lock: Deno.FsFile,
    private readonly lease: StoreLease,
    private readonly record: StoreRecord,
    readonly restored: boolean,
    private readonly remember: (record: StoreRecord) => Promise<void>,
  ) {}

  get storeId(): Uint8Array {
    return this.record.storeId;
  }

  get lost(): Promise<never> {
    return this.lease.lost;
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(Infinity);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      const last = { ...this.record, generation: this.record.generation + 1 };
      await this.kv.set(META_KEY, last);
      await this.remember(last);
      await this.lease.release();
    } catch (error) {
      log.warn("The store was closed without its last record: {error}", { error });
    } finally {
      this.lease.abandon();
      this.kv.close();
      this.lock.close();
    }
  }
}

/** Connects, and asks once: opening a remote store alone asks nobody. */
async function reach(url: string): Promise<Deno.Kv> {
  if (Deno.env.get("DENO_KV_ACCESS_TOKEN") === undefined) {
    throw new CairnError(
      "invalid-option",
      `The store ${url} asks for an access token: set DENO_KV_ACCESS_TOKEN`,
    );
  }
  let kv: Deno.Kv | undefined;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("No answer")), REACHED_WITHIN);
  try {
    kv = await Deno.openKv(url);
    await Promise.race([kv.get(META_KEY), late.promise]);
    return kv;
  } catch (cause) {
    kv?.close();
    throw new CairnError(
      "unreachable",
      `The store ${url} cannot be reached: check CAIRN_KV_URL, DENO_KV_ACCESS_TOKEN and the ` +
        "server there",
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
}

async function adopt(
  kv: Deno.Kv,
  marker: Marker | undefined,
  { url, folder, kind, host, migrations }: RemoteStoreOptions,
): Promise<{ record: StoreRecord; restored: boolean }> {
  const found = (await kv.get<StoreRecord>(META_KEY)).value;
  if (found === null) return { record: firstRecord(kind, host, null), restored: false };
  requireUsable(found, { kind, path: folder, store: url });
  const { version } = found;
  if (version < FORMAT_VERSION) {
    await migrateStore(kv, {
      name: `The store ${url}`,
      from: version,
      to: FORMAT_VERSION,
      migrations,
      copy: () => copyRemoteStore(kv, copyPath(`${folder}/${COPY_FILE}`, version)),
    });
  }
  const isKnown = marker?.folderId === toHex(found.folderId);
  const restored = isKnown && found.generation < marker.generation;
  const record = {
    ...found,
    version: FORMAT_VERSION,
    storeId: restored ? host.random(16) : found.storeId,
    generation: Math.max(found.generation, isKnown ? marker.generation : 0) + 1,
  };
  return { record, restored };
}

/** The store, every change of which has this condition. */
function fencedBy(kv: Deno.Kv, fence: Deno.AtomicCheck): Deno.Kv {
  const atomic = () => kv.atomic().check(fence);
  const changes: Pick<Deno.Kv, "atomic" | "set" | "delete"> = {
    atomic,
    async set(key, value, options) {
      return required(await atomic().set(key, value, options).commit());
    },
    async delete(key) {
      required(await atomic().delete(key).commit());
    },
  };
  return new Proxy(kv, {
    get(target, name) {
      if (name === "atomic" || name === "set" || name === "delete") return changes[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function required(result: Deno.KvCommitResult | Deno.KvCommitError): Deno.KvCommitResult {
  if (result.ok) return result;
  throw new CairnError("data-folder-in-use", "Another cairn server has taken over the store");
}

async function readMarker(folder: string): Promise<Marker | undefined> {
  try {
    const value: Partial<Marker> = JSON.parse(await Deno.readTextFile(`${folder}/${MARKER_FILE}`));
    const { folderId, generation, owner } = value;
    return typeof folderId === "string" && typeof generation === "number" &&
        /^[0-9a-f]{32}$/.test(owner ?? "") && owner !== undefined
      ? { folderId, generation, owner }
      : undefined;
  } catch {
    // Without it, a former owner is waited for and a restored store not noticed; nothing is lost.
    return undefined;
  }
}

async function writeMarker(folder: string, marker: Marker): Promise<void> {
  const path = `${folder}/${MARKER_FILE}`;
  await Deno.writeFile(`${path}.new`, utf8(`${JSON.stringify(marker)}\n`), { mode: 0o600 });
  await Deno.rename(`${path}.new`, path);
}
