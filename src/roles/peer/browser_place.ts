/// <reference lib="dom" />
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { IndexedDbStore } from "../indexed_db_store.ts";
import type { NodePlace } from "./node_store.ts";

const log = getLogger(["cairn", "peer"]);

const STORE_ID = ["cairn", "store-id"];
const STORE_ID_BYTES = 16;
/** Milliseconds that the page before this one has to go, as when it is loaded anew. */
const LOCK_TIMEOUT = 3_000;

/**
 * Opens a peer's database of this page's origin, making it when it is not there. One page has it at
 * a time, by a lock (Web Locks API) of the same name.
 *
 * @throws {CairnError} `data-folder-in-use` while another page has it; `data-folder-unusable` when
 * the browser keeps nothing for this page.
 */
export async function openBrowserPlace(name: string, host: Host): Promise<NodePlace> {
  if (!isSecureContext) {
    throw new CairnError(
      "data-folder-unusable",
      "This page may keep no keys: open it by https:// or from localhost",
    );
  }
  const unlock = await takeLock(name);
  try {
    const kv = await IndexedDbStore.open(name);
    void askToPersist(name);
    return {
      kv,
      storeId: await storeIdOf(kv, host),
      close: () => {
        kv.close();
        unlock();
        return Promise.resolve();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** Holds the lock until what this returns is called, or the page is gone. */
function takeLock(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(LOCK_TIMEOUT);
    navigator.locks.request(name, { signal }, () => {
      const held = Promise.withResolvers<void>();
      resolve(held.resolve);
      return held.promise;
    }).catch((cause) => {
      const sentence = "Another page or window of this browser has this peer open; close that one";
      reject(new CairnError("data-folder-in-use", sentence, { cause }));
    });
  });
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
