import type { PlainOperation } from "./group_commit.ts";
import { KV_LIMITS, weigh } from "./kv_weight.ts";

const STEP_BYTES = 262_144;
/** Room beside the changes in one record of the journal. */
const RECORD_BYTES = KV_LIMITS.valueBytes - 2_048;

export type Change = Exclude<PlainOperation, { type: "check" }>;
/** As it is journaled: a key alone means that its record goes. */
export type Journaled = readonly [key: Deno.KvKey, value?: unknown];

/** A change that is durable in the journal and on its way to its place. */
export interface Pending {
  readonly key: Deno.KvKey;
  readonly name: string;
  /** `undefined` for a record that goes. */
  value: unknown;
  bytes: number;
  /** The journal record of the last change. */
  number: number;
  /** The store has no record of this key. */
  isFresh: boolean;
}

/** The records of the journal that hold `changes`. */
export function inRecords(changes: readonly Change[]): Journaled[][] {
  const records: Journaled[][] = [];
  let bytes = Infinity;
  for (const change of changes) {
    const weight = weigh([change]).bytes + 32;
    if (bytes + weight > RECORD_BYTES) {
      records.push([]);
      bytes = 0;
    }
    bytes += weight;
    records.at(-1)?.push(change.type === "set" ? [change.key, change.value] : [change.key]);
  }
  return records;
}

/** What goes to its place at once: up to so many records, and not too many bytes. */
export function* inSteps(pending: readonly Pending[], records: number): Generator<Pending[]> {
  let step: Pending[] = [];
  let bytes = 0;
  for (const entry of pending) {
    if (step.length === records || (step.length > 0 && bytes + entry.bytes > STEP_BYTES)) {
      yield step;
      step = [];
      bytes = 0;
    }
    step.push(entry);
    bytes += entry.bytes;
  }
  if (step.length > 0) yield step;
}
