import type { PlainOperation } from "./group_commit.ts";
import { KV_LIMITS } from "./kv_weight.ts";

/** More than SQLite's cache of 2 MB holds the pages of would be written and read twice. */
const STEP_BYTES = 393_216;
/** Deno KV takes no more keys in one commit. */
const STEP_KEY_BYTES = 0.9 * KV_LIMITS.keyBytes;
/** Room beside the changes in one record of the journal. */
const RECORD_BYTES = KV_LIMITS.valueBytes - 2_048;

export type Change = Exclude<PlainOperation, { type: "check" }>;
/** As it is journaled: a key alone means that its record goes. */
export type Journaled = readonly [key: Deno.KvKey, value?: unknown];

/** A change that is durable in the journal and on its way to its place. */
export interface Pending {
  readonly key: Deno.KvKey;
  /** The name of all of the key but its last part, and of that. */
  readonly groupName: string;
  readonly last: string;
  /** `undefined` for a record that goes. */
  value: unknown;
  bytes: number;
  readonly keyBytes: number;
  /** The journal record of the last change. */
  number: number;
  /** The store has no record of this key. */
  isFresh: boolean;
}

/** The records of the journal that hold `changes`, which have so many `bytes` each. */
export function inRecords(changes: readonly Change[], bytes: readonly number[]): Journaled[][] {
  const records: Journaled[][] = [];
  let length = Infinity;
  for (const [index, change] of changes.entries()) {
    const more = (bytes[index] ?? 0) + 32;
    if (length + more > RECORD_BYTES) {
      records.push([]);
      length = 0;
    }
    length += more;
    records.at(-1)?.push(change.type === "set" ? [change.key, change.value] : [change.key]);
  }
  return records;
}

/** What goes to its place at once: up to so many records, and not too many bytes. */
export function* inSteps(pending: readonly Pending[], records: number): Generator<Pending[]> {
  let step: Pending[] = [];
  let bytes = 0;
  let keyBytes = 0;
  for (const entry of pending) {
    const isFull = step.length === records || bytes + entry.bytes > STEP_BYTES ||
      keyBytes + entry.keyBytes > STEP_KEY_BYTES;
    if (isFull && step.length > 0) {
      yield step;
      step = [];
      bytes = keyBytes = 0;
    }
    step.push(entry);
    bytes += entry.bytes;
    keyBytes += entry.keyBytes;
  }
  if (step.length > 0) yield step;
}
