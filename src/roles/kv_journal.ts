import { getLogger } from "@logtape/logtape";
import { isDiskFull } from "./disk_full.ts";
import { type PlainOperation, writeAtOnce, type Writer } from "./group_commit.ts";
import { groupOf, nameOf, nameOfAll } from "./kv_key_name.ts";
import { type Change, inRecords, inSteps, type Journaled, type Pending } from "./journal_steps.ts";
import { bytesOf, keySize } from "./kv_weight.ts";
import { soundValue } from "./sealed_kv.ts";

const log = getLogger(["cairn", "journal"]);

/**
 * Changes collect this long before they go to their places, so that those of one record meet, what
 * is gone again by then never goes there, and few acknowledgements wait behind a step.
 */
const COLLECT_MS = 4_000;
/** The same after the disk was full: whatever room was made is for what frees more. */
const COLLECT_ON_FULL_DISK_MS = 5_000;
/** Beyond so many changed records they go at once; beyond so much more, writers wait for it. */
const MANY_RECORDS = 4_096;
const MAX_RECORDS = 16_384;
const MAX_BYTES = 16 * 1_048_576;
/**
 * One step towards their places: long, since what is to be journaled waits as much for the disk
 * behind a short one, and more often.
 */
const STEP_RECORDS = 900;
/** A step for which a full disk may have room when it has none for a long one. */
const SHORT_STEP_RECORDS = 24;

/**
 * A write-ahead journal inside Deno KV, which charges for every record that a commit touches: the
 * changes of one commit are durable as one record, and go to their own places later, many at once
 * and in order of their keys. What is set and deleted soon after never goes there at all. Reads of
 * such records must come here. After a crash the journal is read back before anything else; its
 * records hold whole values, so doing them twice changes nothing.
 */
export class KvJournal implements Writer {
  readonly #kv: Deno.Kv;
  readonly #prefix: Deno.KvKey;
  readonly #covers: (key: Deno.KvKey) => boolean;
  /** By all of a key but its last part, then by that. */
  readonly #pending = new Map<string, Map<string, Pending>>();
  #records = 0;
  #bytes = 0;
  #first = 1;
  #next = 1;
  #round: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #wasFull = false;

  private constructor(
    kv: Deno.Kv,
    prefix: Deno.KvKey,
    covers: (key: Deno.KvKey) => boolean,
  ) {
    this.#kv = kv;
    this.#prefix = prefix;
    this.#covers = covers;
  }

  /** Reads back what a crash left below `prefix`. `covers` says which records are journaled. */
  static async open(
    kv: Deno.Kv,
    prefix: Deno.KvKey,
    covers: (key: Deno.KvKey) => boolean,
  ): Promise<KvJournal> {
    const journal = new KvJournal(kv, prefix, covers);
    for await (const { key, value } of kv.list<Journaled[]>({ prefix })) {
      const number = Number(key.at(-1));
      if (journal.#records === 0) journal.#first = number;
      if (!Array.isArray(value)) throw new TypeError("A record of the journal is damaged");
      for (const [changed, next] of value) {
        const change: Change = next === undefined
          ? { type: "delete", key: changed }
          : { type: "set", key: changed, value: next };
        journal.#note(change, bytesOf(change), number);
      }
      journal.#next = number + 1;
    }
    journal.#schedule();
    return journal;
  }

  /**
   * Makes `operations` durable together, those outside of the journal in their places.
   *
   * @throws {CairnError} `disk-full`, also when so much is journaled that it must go first.
   */
  async write(operations: readonly PlainOperation[]): Promise<void> {
    const direct: PlainOperation[] = [];
    const changes: Change[] = [];
    for (const operation of operations) {
      if (operation.type !== "check" && this.#covers(operation.key)) changes.push(operation);
      else direct.push(operation);
    }
    if (changes.length === 0) return await writeAtOnce(this.#kv, direct);
    if (this.#records > MAX_RECORDS || this.#bytes > MAX_BYTES) await this.settle();
    const bytes = changes.map(bytesOf);
    const number = this.#next;
    const records = inRecords(changes, bytes).map((value, index): PlainOperation => (
      { type: "set", key: [...this.#prefix, number + index], value }
    ));
    try {
      await writeAtOnce(this.#kv, [...direct, ...records]);
    } catch (error) {
      if (isDiskFull(error)) this.#holdBack();
      throw error;
    }
    this.#next += records.length;
    for (const [index, change] of changes.entries()) {
      this.#note(change, bytes[index] ?? 0, this.#next - 1);
    }
    this.#schedule();
  }

  async get<Value>(key: Deno.KvKey): Promise<Value | null> {
    const pending = this.#pending.get(groupOf(key))?.get(nameOf(key.at(-1)));
    if (pending !== undefined) return (pending.value ?? null) as Value | null;
    return (await this.#kv.get<Value>(key)).value;
  }

  /**
   * Up to `limit` records whose key is `prefix` and a number above `after`, in order; without a
   * value where it is damaged.
   */
  async listAfter<Value>(
    prefix: Deno.KvKey,
    after: number,
    limit: number,
  ): Promise<{ readonly number: number; readonly value: Value | undefined }[]> {
    const changed = new Map<number, unknown>();
    for (const { key, value } of this.#pending.get(nameOfAll(prefix))?.values() ?? []) {
      const number = Number(key.at(-1));
      if (number > after) changed.set(number, value);
    }
    const added = [...changed].filter(([, value]) => value !== undefined)
      .map(([number, value]) => ({ number, value: value as Value }));
    const found: { number: number; value: Value | undefined }[] = [];
    const selector = { prefix, start: [...prefix, after + 1] };
    const batchSize = Math.min(limit + 1, 100);
    for await (const entry of this.#kv.list<Value>(selector, { batchSize })) {
      const number = Number(entry.key.at(-1));
      if (!changed.has(number)) found.push({ number, value: soundValue(entry) });
      if (found.length === limit) break;
    }
    return [...found, ...added].sort((a, b) => a.number - b.number).slice(0, limit);
  }

  /** Every record below `prefix`, whose parts all keys have in front of two more; in no order. */
  async *listAll<Value>(
    prefix: Deno.KvKey,
  ): AsyncGenerator<{ readonly key: Deno.KvKey; readonly value: Value }> {
    const changed = new Map<string, Pending>();
    for (const group of this.#pending.values()) {
      for (const pending of group.values()) {
        const isBelow = prefix.every((part, index) => nameOf(part) === nameOf(pending.key[index]));
        if (isBelow) changed.set(nameOfPending(pending), pending);
      }
    }
    for await (const { key, value } of this.#kv.list<Value>({ prefix })) {
      if (!changed.has(nameOfAll(key))) yield { key, value };
    }
    for (const { key, value } of changed.values()) {
      if (value !== undefined) yield { key, value: value as Value };
    }
  }

  /** Resolves when everything that is durable now lies in its place. */
  async settle(): Promise<void> {
    this.#wasFull = false;
    await this.#round?.catch(() => {});
    await this.#startRound();
  }

  /** Brings to its place what can be brought there; the rest stays durable in the journal. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.settle().catch((error) => {
      log.debug("Some changes stay in the journal: {error}", { error });
    });
  }

  #note(change: Change, bytes: number, number: number): void {
    const { key } = change;
    const value = change.type === "set" ? change.value : undefined;
    const groupName = groupOf(key);
    let group = this.#pending.get(groupName);
    if (group === undefined) this.#pending.set(groupName, group = new Map());
    const last = nameOf(key.at(-1));
    const pending = group.get(last);
    if (value === undefined && pending?.isFresh) return this.#forget(pending);
    this.#bytes += bytes - (pending?.bytes ?? 0);
    if (pending === undefined) {
      this.#records++;
      const isFresh = change.type === "set" && change.fresh === true;
      const keyBytes = keySize(key);
      group.set(last, { key, groupName, last, value, bytes, keyBytes, number, isFresh });
    } else Object.assign(pending, { value, bytes, number });
  }

  #forget({ groupName, last, bytes }: Pending): void {
    const group = this.#pending.get(groupName);
    if (!group?.delete(last)) return;
    if (group.size === 0) this.#pending.delete(groupName);
    this.#records--;
    this.#bytes -= bytes;
  }

  #schedule(): void {
    if (this.#isClosed || this.#round !== undefined || this.#next === this.#first) return;
    if (this.#records >= MANY_RECORDS && !this.#wasFull) return this.#applyInBackground();
    const delay = this.#wasFull ? COLLECT_ON_FULL_DISK_MS : COLLECT_MS;
    this.#timer ??= setTimeout(() => this.#applyInBackground(), delay);
  }

  #holdBack(): void {
    this.#wasFull = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#schedule();
  }

  #applyInBackground(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wasFull = false;
    this.#startRound().then(() => this.#schedule(), (error) => {
      // The next change tries again; until then everything is safe where it is.
      if (this.#isClosed) return;
      if (isDiskFull(error)) log.debug("The disk is full: changes stay in the journal");
      else log.error("Changes stay in the journal: {error}", { error });
    });
  }

  #startRound(): Promise<void> {
    this.#round ??= this.#applyAll().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  async #applyAll(): Promise<void> {
    const end = this.#next;
    const pending = [...this.#pending.values()].flatMap((group) => [...group.values()])
      .map((entry) => ({ entry, name: nameOfPending(entry) }))
      .sort((a, b) => a.name < b.name ? -1 : 1)
      .map(({ entry }) => entry);
    for (const step of inSteps(pending, STEP_RECORDS)) await this.#applyOrParts(step);
    if (this.#wasFull) return;
    // In order, so that a crash leaves the last ones, which say all that those before them said.
    while (this.#first < end) {
      const until = Math.min(end, this.#first + STEP_RECORDS);
      const deletions = Array.from({ length: until - this.#first }, (_, index): PlainOperation => (
        { type: "delete", key: [...this.#prefix, this.#first + index] }
      ));
      await writeAtOnce(this.#kv, deletions);
      this.#first = until;
    }
  }

  async #applyOrParts(step: readonly Pending[]): Promise<void> {
    try {
      await this.#apply(step);
    } catch (error) {
      if (!isDiskFull(error) || step.length <= SHORT_STEP_RECORDS) throw error;
      for (const part of inSteps(step, SHORT_STEP_RECORDS)) await this.#apply(part);
    }
  }

  async #apply(step: readonly Pending[]): Promise<void> {
    if (this.#wasFull) return;
    const applied = step.filter((pending) => this.#isPending(pending))
      .map((pending) => ({ pending, number: pending.number }));
    if (applied.length === 0) return;
    for (const { pending } of applied) pending.isFresh = false;
    await writeAtOnce(
      this.#kv,
      applied.map(({ pending: { key, value } }) =>
        value === undefined ? { type: "delete", key } : { type: "set", key, value }
      ),
    );
    for (const { pending, number } of applied) {
      if (pending.number === number) this.#forget(pending);
    }
  }

  #isPending(pending: Pending): boolean {
    return this.#pending.get(pending.groupName)?.get(pending.last) === pending;
  }
}

function nameOfPending({ groupName, last }: Pending): string {
  return groupName + last;
}
