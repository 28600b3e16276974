/// <reference lib="dom" />
import { equalBytes } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { IndexedDbStore } from "../../src/roles/indexed_db_store.ts";
import { KvBlobs } from "../../src/roles/kv_blobs.ts";
import { openBrowserPlace } from "../../src/roles/peer/browser_place.ts";
import { kvStoreStory } from "./kv_store_story.ts";

const PATTERN = 7;

/** What a test does with stores in a page. */
const page = {
  /** The story, in an empty database. */
  async story(): Promise<string[]> {
    const store = await IndexedDbStore.open("story");
    const lines = await kvStoreStory(store);
    store.close();
    return lines;
  },

  /** How durable each commit is, by what the browser was asked for. */
  async durabilities(): Promise<string[]> {
    const asked: string[] = [];
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...args) {
      const made = Reflect.apply(transaction, this, args);
      if (made.mode === "readwrite") asked.push(made.durability);
      return made;
    };
    const store = await IndexedDbStore.open("durable");
    await store.set(["one"], 1);
    await store.atomic().set(["two"], 2).delete(["one"]).commit();
    store.close();
    IDBDatabase.prototype.transaction = transaction;
    return asked;
  },

  /** Stores a body of `size` bytes; {@linkcode page.body} finds it after the page was loaded anew. */
  async keepBody(size: number): Promise<void> {
    const { store, commit, blobs } = await opened();
    const { value, ops } = await blobs.storeBody(new Uint8Array(size).fill(PATTERN));
    await commit.commit([...ops, { type: "set", key: ["body"], value }]);
    await commit.close();
    store.close();
  },

  /** Why a body of `size` bytes is not stored. */
  async refusal(size: number): Promise<string> {
    return await page.keepBody(size).then(() => "stored", ({ code, message }) => code ?? message);
  },

  async body(): Promise<readonly [size: number, isIntact: boolean]> {
    const { store, blobs } = await opened();
    const { value } = await store.get<Uint8Array>(["body"]);
    const bytes = value ? await blobs.readBody(value) : undefined;
    store.close();
    return [bytes?.length ?? 0, bytes?.every((byte) => byte === PATTERN) ?? false];
  },

  /** What a second opening of a peer's place says, and whether a third, after the first, is the same. */
  async places(): Promise<readonly [second: string, isSame: boolean]> {
    const first = await openBrowserPlace("place", systemHost);
    const second = await openBrowserPlace("place", systemHost).catch(({ code }) => code);
    await first.close();
    const third = await openBrowserPlace("place", systemHost);
    await third.close();
    return [second, equalBytes(first.storeId, third.storeId)];
  },

  /** Why a database cannot be opened that a later version has used. */
  async later(): Promise<string> {
    const request = indexedDB.open("later", 1_000);
    await new Promise((resolve) => request.onsuccess = resolve);
    request.result.close();
    return await IndexedDbStore.open("later").then(() => "opened", ({ code }) => code);
  },
};

async function opened() {
  const store = await IndexedDbStore.open("bodies");
  const commit = new GroupCommit(store);
  return { store, commit, blobs: new KvBlobs(store, commit, ["blob"]) };
}

Object.assign(globalThis, { page });
