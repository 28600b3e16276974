import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { GroupCommit, type KvOperation } from "../../src/roles/group_commit.ts";
import { KvJournal } from "../../src/roles/kv_journal.ts";
import { LiveRecord } from "../../src/roles/live_record.ts";

const PREFIX = ["journal"];

/** A store whose small records are journaled, and what a crash makes of it. */
class Shop implements AsyncDisposable {
  private constructor(
    readonly kv: Deno.Kv,
    readonly commit: GroupCommit,
    readonly journal: KvJournal,
  ) {}

  static async open(kv?: Deno.Kv): Promise<Shop> {
    const store = kv ?? await Deno.openKv(":memory:");
    const journal = await KvJournal.open(store, PREFIX, (key) => key[0] === "small");
    const commit = new GroupCommit(store);
    commit.writeThrough(journal);
    return new Shop(store, commit, journal);
  }

  /** As if the process had died and another one had started. */
  async crash(): Promise<Shop> {
    const records = await Array.fromAsync(this.kv.list({ prefix: [] }));
    await this[Symbol.asyncDispose]();
    const kv = await Deno.openKv(":memory:");
    for (const { key, value } of records) await kv.set(key, value);
    return await Shop.open(kv);
  }

  async keys(): Promise<Deno.KvKey[]> {
    return (await Array.fromAsync(this.kv.list({ prefix: [] }))).map(({ key }) => key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.commit.close();
    await this.journal.close();
    this.kv.close();
  }
}

const set = (n: number, value: unknown, fresh?: true): KvOperation => ({
  type: "set",
  key: ["small", "list", n],
  value,
  ...(fresh && { fresh }),
});
const remove = (n: number): KvOperation => ({ type: "delete", key: ["small", "list", n] });

Deno.test("KvJournal makes a commit durable as one record, and brings all to its place", async () => {
  await using shop = await Shop.open();
  await shop.commit.commit([
    ...[3, 1, 2].map((n) => set(n, `value ${n}`)),
    { type: "set", key: ["large"], value: 1 },
  ]);
  deepStrictEqual(await shop.keys(), [["journal", 1], ["large"]]);
  strictEqual(await shop.journal.get(["small", "list", 2]), "value 2");
  await shop.journal.settle();
  deepStrictEqual(await shop.keys(), [
    ["large"],
    ...[1, 2, 3].map((n) => ["small", "list", n]),
  ]);
  strictEqual(await shop.journal.get(["small", "list", 2]), "value 2");
});

Deno.test("KvJournal never writes what was fresh and went before it had a place", async () => {
  await using shop = await Shop.open();
  await shop.commit.commit([set(1, "a", true), set(2, "b")]);
  await shop.commit.commit([remove(1), remove(2)]);
  deepStrictEqual(await shop.journal.listAfter(["small", "list"], -1, 10), []);
  await shop.journal.settle();
  deepStrictEqual(await shop.keys(), []);
});

Deno.test("KvJournal has after a crash what was durable before it", async () => {
  const first = await Shop.open();
  await first.commit.commit([set(1, "a"), set(2, "b", true)]);
  await first.journal.settle();
  await first.commit.commit([set(1, "c"), remove(2), set(3, "d", true)]);
  await using second = await first.crash();
  deepStrictEqual(await second.journal.listAfter(["small", "list"], -1, 10), [
    { number: 1, value: "c" },
    { number: 3, value: "d" },
  ]);
  await second.journal.settle();
  deepStrictEqual(await second.keys(), [["small", "list", 1], ["small", "list", 3]]);
});

Deno.test("KvJournal is always as a plain map is, through crashes", async () => {
  const step = fc.oneof(
    fc.record({ set: fc.nat(12), to: fc.nat() }),
    fc.record({ remove: fc.nat(12) }),
    fc.constantFrom("settle", "crash", "look"),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const model = new Map<number, number>();
      let shop = await Shop.open();
      for (const action of [...steps, "look" as const]) {
        if (action === "settle") await shop.journal.settle();
        else if (action === "crash") shop = await shop.crash();
        else if (action === "look") {
          const expected = [...model].sort(([a], [b]) => a - b)
            .map(([number, value]) => ({ number, value }));
          deepStrictEqual(await shop.journal.listAfter(["small", "list"], -1, 100), expected);
          const behind = expected.filter(({ number }) => number > 4).slice(0, 3);
          deepStrictEqual(await shop.journal.listAfter(["small", "list"], 4, 3), behind);
          const all = await Array.fromAsync(shop.journal.listAll(["small"]));
          strictEqual(all.length, model.size);
        } else if ("set" in action) {
          const isFresh = !model.has(action.set);
          model.set(action.set, action.to);
          await shop.commit.commit([set(action.set, action.to, isFresh || undefined)]);
        } else {
          model.delete(action.remove);
          await shop.commit.commit([remove(action.remove)]);
        }
      }
      await shop[Symbol.asyncDispose]();
    }),
    { numRuns: 40 },
  );
});

Deno.test("KvJournal spreads a large commit over several records", async () => {
  const shop = await Shop.open();
  const body = new Uint8Array(4_000);
  await shop.commit.commit(Array.from({ length: 100 }, (_, n) => set(n, body)));
  ok((await shop.keys()).length > 5);
  await using again = await shop.crash();
  strictEqual((await again.journal.listAfter(["small", "list"], -1, 200)).length, 100);
});

Deno.test("KvJournal brings what a full disk has room for to its place in short steps", async () => {
  const kv = await Deno.openKv(":memory:");
  const refused: number[] = [];
  const atomic = kv.atomic.bind(kv);
  kv.atomic = () => {
    const operation = atomic();
    const { set, commit } = operation;
    let sets = 0;
    operation.set = (...args) => {
      sets++;
      return set.apply(operation, args);
    };
    operation.commit = () => {
      if (sets <= 24) return commit.call(operation);
      refused.push(sets);
      return Promise.reject(new TypeError("database or disk is full"));
    };
    return operation;
  };
  await using shop = await Shop.open(kv);
  const numbers = Array.from({ length: 60 }, (_, index) => index);
  await shop.commit.commit(numbers.map((n) => set(n, n)));
  await shop.journal.settle();
  deepStrictEqual(refused, [60]);
  deepStrictEqual(await shop.keys(), numbers.map((n) => ["small", "list", n]));
});

Deno.test("LiveRecord counts exactly, whichever of the commits around it fail", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const record = new LiveRecord<number>(["count"]);
  const add = () => record.change((count = 0) => count + 1);
  const impossible: KvOperation = { type: "check", key: ["absent"], versionstamp: "0".repeat(20) };
  const outcomes = await Promise.allSettled([
    commit.commit([add()]),
    commit.commit([add(), impossible]),
    commit.commit([add(), add()]),
  ]);
  deepStrictEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  strictEqual(record.value, 3);
  strictEqual((await kv.get(["count"])).value, 3);
  await commit.commit([record.change(() => undefined)]);
  strictEqual((await kv.get(["count"])).versionstamp, null);
  await rejects(commit.commit([add(), impossible]));
  strictEqual(record.value, undefined);
  await commit.close();
  kv.close();
});
