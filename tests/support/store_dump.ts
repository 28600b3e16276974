/** The records of stores as text, so that a format outlives the program that wrote it. */

import { toBase64 } from "../../src/base/bytes.ts";

/** One record of one of several stores. */
interface DumpedRecord {
  readonly store: string;
  readonly key: unknown;
  readonly value: unknown;
}

/** Every record of a folder's store, one JSON object to a line. */
export async function dumpStore(store: string, folder: string): Promise<string> {
  using kv = await Deno.openKv(`${folder}/cairn.kv`);
  return await dumpRecords(store, kv);
}

/** The same of a store that is open. */
export async function dumpRecords(store: string, kv: Deno.Kv): Promise<string> {
  let text = "";
  for await (const { key, value } of kv.list<unknown>({ prefix: [] })) {
    const record: DumpedRecord = { store, key: toJson([...key]), value: toJson(value) };
    text += `${JSON.stringify(record)}\n`;
  }
  return text;
}

/** Makes the folders `<path>/<store>` of a dump. They do not seem copied. */
export async function loadStores(text: string, path: string): Promise<void> {
  const stores = new Map<string, Deno.Kv>();
  try {
    await loadRecords(text, async (store) => {
      const open = stores.get(store);
      if (open !== undefined) return open;
      await Deno.mkdir(`${path}/${store}`, { recursive: true, mode: 0o700 });
      const kv = await Deno.openKv(`${path}/${store}/cairn.kv`);
      stores.set(store, kv);
      return kv;
    });
  } finally {
    for (const kv of stores.values()) kv.close();
  }
}

/** Puts each record of a dump where `storeOf` says; those of stores without a place are left out. */
export async function loadRecords(
  text: string,
  storeOf: (store: string) => Promise<Deno.Kv | undefined>,
): Promise<void> {
  for (const line of text.trim().split("\n")) {
    const { store, key, value }: DumpedRecord = JSON.parse(line);
    const parts = fromJson(key);
    if (!Array.isArray(parts)) throw new TypeError("A key in the dump is no array");
    const isMeta = parts[0] === "cairn" && parts[1] === "meta";
    const record = fromJson(value);
    const kv = await storeOf(store);
    // Without the file's identity nothing tells that this is another file.
    await kv?.set(parts, isMeta ? { ...Object(record), file: null } : record);
  }
}

function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) };
  if (value === undefined) return { $undefined: true };
  if (value instanceof Map || value instanceof Set || typeof value === "bigint") {
    throw new TypeError("The dump has no form for this value");
  }
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, toJson(entry)]));
}

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return Uint8Array.fromBase64(String(value.$bytes));
  if ("$undefined" in value) return undefined;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, fromJson(entry)]));
}
