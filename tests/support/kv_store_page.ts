/// <reference lib="dom" />
import { equalBytes } from "../../src/base/bytes.ts";
import { CairnError } from "../../src/base/errors.ts";
import { systemHost } from "../../src/base/host.ts";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { IndexedDbStore } from "../../src/roles/indexed_db_store.ts";
import { KvBlobs } from "../../src/roles/kv_blobs.ts";
import { openBrowserPlace } from "../../src/roles/peer/browser_place.ts";
import type { NodePlace } from "../../src/roles/peer/node_store.ts";
import { kvStoreStory } from "./kv_store_story.ts";

const PATTERN = 7;
const MOST_PARTS = 100;

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
    return await page.keepBody(size).then(() => "stored", codeOf);
  },

  async body(): Promise<readonly [size: number, isIntact: boolean]> {
    const { store, blobs } = await opened();
    const { value } = await store.get<Uint8Array>(["body"]);
    const bytes = value ? await blobs.readBody(value) : undefined;
    store.close();
    return [bytes?.length ?? 0, bytes?.every((byte) => byte === PATTERN) ?? false];
  },

  /**
   * What is said when there is no more room, and whether something can be deleted all the same,
   * as the commit that ends a message does.
   */
  async full(): Promise<readonly [refusal: string, isDeleted: boolean]> {
    const store = await IndexedDbStore.open("full");
    let refusal: string | undefined;
    for (let index = 0; refusal === undefined && index < MOST_PARTS; index++) {
      const value = crypto.getRandomValues(new Uint8Array(60_000));
      refusal = await store.set(["part", index], value).then(() => undefined, codeOf);
    }
    await store.atomic().delete(["part", 0]).commit();
    const { value } = await store.get(["part", 0]);
    store.close();
    return [refusal ?? "stored", value === null];
  },

  /** What a second opening of a peer's place says, and whether a third, which waits, is the same. */
  async places(): Promise<readonly [second: string, isSame: boolean]> {
    const first = await openBrowserPlace("-place", systemHost);
    const second = await openBrowserPlace("-place", systemHost, 1).then(() => "opened", codeOf);
    const waiting = openBrowserPlace("-place", systemHost, Infinity);
    await first.close();
    const third = await waiting;
    await third.close();
    return [second, equalBytes(first.storeId, third.storeId)];
  },

  /** What a peer is told whose place another script takes over, and what its next commit meets. */
  async stolen(): Promise<readonly string[]> {
    const place = await openBrowserPlace("stolen", systemHost);
    const { held = [] } = await navigator.locks.query();
    const { name = "" } = held.find((lock) => lock.name?.endsWith("stolen")) ?? {};
    await navigator.locks.request(name, { steal: true }, () => {});
    return await endOf(place);
  },

  /** The same of one whose database another page deletes. */
  async deleted(): Promise<readonly string[]> {
    const place = await openBrowserPlace("deleted", systemHost);
    const request = indexedDB.deleteDatabase("deleted");
    await new Promise((resolve) => request.onsuccess = resolve);
    return await endOf(place);
  },

  /** Opens a place; {@linkcode page.cleared} tells how it ends. */
  async toBeCleared(): Promise<void> {
    const place = await openBrowserPlace("cleared", systemHost);
    page.cleared = () => endOf(place);
  },

  cleared: (): Promise<readonly string[]> => Promise.resolve([]),

  /** Why a database cannot be opened that is another program's. */
  async foreign(): Promise<string> {
    const request = indexedDB.open("foreign", 1);
    await new Promise((resolve) => request.onsuccess = resolve);
    request.result.close();
    return await IndexedDbStore.open("foreign").then(() => "opened", codeOf);
  },

  /** Why a database cannot be opened that a later version has used. */
  async later(): Promise<string> {
    const request = indexedDB.open("later", 1_000);
    await new Promise((resolve) => request.onsuccess = resolve);
    request.result.close();
    return await IndexedDbStore.open("later").then(() => "opened", codeOf);
  },
};

async function endOf({ kv, lost, close }: NodePlace): Promise<readonly string[]> {
  const reason = codeOf(await lost);
  const commit = await kv.set(["late"], true).then(() => "made", codeOf);
  await close();
  return [reason, commit];
}

function codeOf(error: unknown): string {
  return error instanceof CairnError ? error.code : String(error);
}

async function opened() {
  const store = await IndexedDbStore.open("bodies");
  const commit = new GroupCommit(store);
  return { store, commit, blobs: new KvBlobs(store, commit, ["blob"]) };
}

Object.assign(globalThis, { page });
