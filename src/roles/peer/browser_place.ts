/// <reference lib="dom" />
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { unusable } from "../indexed_db_errors.ts";
import { IndexedDbStore } from "../indexed_db_store.ts";
import type { NodePlace } from "./node_store.ts";

const log = getLogger(["cairn", "peer"]);

const STORE_ID = ["cairn", "store-id"];
const STORE_ID_BYTES = 16;
/** The latest of what the library uses, all of which a browser has that has these. */
const NEEDED: Readonly<Record<string, () => boolean>> = {
  "Web Locks": () => "locks" in navigator,
  "AbortSignal.any": () => "any" in AbortSignal,
  "URL.parse": () => "parse" in URL,
  "Uint8Array.prototype.toHex": () => "toHex" in Uint8Array.prototype,
};
/** Milliseconds that the page before this one has to go, as when it is loaded anew. */
export const STORAGE_TIMEOUT = 3_000;

/**
 * Opens a peer's database of this page's origin, making it when it is not there. One page has it at
 * a time, by a lock (Web Locks API); another one is waited for, `timeout` milliseconds or, with
 * `Infinity`, as long as it takes.
 *
 * @throws {CairnError} `data-folder-in-use` while another page has it; `data-folder-unusable` when
 * the browser keeps nothing for this page; `disk-full`.
 */
export async function openBrowserPlace(
  name: string,
  host: Host,
  timeout = STORAGE_TIMEOUT,
): Promise<NodePlace> {
  if (!isSecureContext) {
    throw new CairnError(
      "data-folder-unusable",
      "This page may keep no keys: open it by https:// or from localhost",
    );
  }
  const lacking = Object.keys(NEEDED).filter((what) => !NEEDED[what]?.());
  if (lacking.length > 0) {
    throw unusable(name, `this browser is too old, it lacks ${lacking.join(", ")}; update it`);
  }
  const lock = await takeLock(name, timeout);
  let kv: IndexedDbStore | undefined;
  try {
    const store = kv = await IndexedDbStore.open(name);
    void askToPersist(name);
    void lock.stolen.then(() => store.giveUp(inUse("has taken this peer over")));
    return {
      kv: store,
      storeId: await storeIdOf(store, host),
      lost: store.lost,
      close: () => {
        store.close();
        lock.release();
        return Promise.resolve();
      },
    };
  } catch (error) {
    kv?.close();
    lock.release();
    throw error;
  }
}

interface HeldLock {
  release(): void;
  /** Resolves when a script of this origin has taken it from this page. */
  readonly stolen: Promise<void>;
}

/** Holds the lock until it is released, or the page is gone. */
function takeLock(name: string, timeout: number): Promise<HeldLock> {
  const taken = Promise.withResolvers<HeldLock>();
  const held = Promise.withResolvers<void>();
  const stolen = Promise.withResolvers<void>();
  const options = timeout === Infinity ? {} : { signal: AbortSignal.timeout(timeout) };
  navigator.locks.request(`cairn peer ${name}`, options, () => {
    taken.resolve({ release: held.resolve, stolen: stolen.promise });
    return held.promise;
  }).catch((cause) => {
    stolen.resolve();
    const isLate = cause instanceof DOMException && cause.name === "TimeoutError";
    taken.reject(
      isLate
        ? inUse("has this peer open; close that one", cause)
        : unusable(name, "the browser gives no lock to this page", cause),
    );
  });
  return taken.promise;
}

function inUse(what: string, cause?: unknown): CairnError {
  const sentence = `Another page or window of this browser ${what}`;
  return new CairnError("data-folder-in-use", sentence, { cause });
}

/** A browser restores nothing: a copy of it shows when the mailbox has counted further. */
async function storeIdOf(kv: IndexedDbStore, host: Host): Promise<Uint8Array> {
  const stored = (await kv.get<Uint8Array>(STORE_ID)).value;
  if (stored) return stored;
  const storeId = host.random(STORE_ID_BYTES);
  await kv.set(STORE_ID, storeId);
  return storeId;
}

/** Without it a browser whose disk is nearly full may delete what this page has stored. */
async function askToPersist(name: string): Promise<void> {
  if (await navigator.storage.persist().catch(() => false)) return;
  log.warn("The browser may delete the database {name} when its disk is nearly full", { name });
}
