import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { GroupCommit, type KvOperation } from "../../src/roles/group_commit.ts";
import { KV_LIMITS } from "../../src/roles/kv_weight.ts";

const set = (name: string, value: unknown = 1): KvOperation => ({
  type: "set",
  key: [name],
  value,
});

Deno.test("GroupCommit merges what many callers hand in into few commits", async () => {
  const kv = new CountingKv(await Deno.openKv(":memory:"));
  const commit = new GroupCommit(kv.asKv);
  const callers = Array.from({ length: 500 }, (_, n) => commit.commit([set(`key ${n}`, n)]));
  await Promise.all(callers);
  ok(kv.commits <= 2, `${kv.commits} commits`);
  strictEqual((await kv.inner.get(["key 499"])).value, 499);
  await commit.close();
  kv.inner.close();
});

Deno.test("GroupCommit resolves each caller only when its changes can be read", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  await Promise.all(Array.from({ length: 50 }, async (_, n) => {
    await commit.commit([set(`key ${n}`)]);
    ok((await kv.get([`key ${n}`])).versionstamp);
  }));
  await commit.close();
  kv.close();
});

Deno.test("GroupCommit keeps the order of callers on one key", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const callers: Promise<void>[] = [];
  for (let n = 0; n < 2500; n++) callers.push(commit.commit([set("key", n)]));
  await Promise.all(callers);
  strictEqual((await kv.get(["key"])).value, 2499);
  await commit.close();
  kv.close();
});

/** Operations just within a limit of Deno KV, and the same with a little more. */
const edges: [string, KvOperation[], KvOperation[]][] = [
  [
    "changes",
    Array.from({ length: KV_LIMITS.mutations }, (_, n) => set(`${n}`)),
    Array.from({ length: KV_LIMITS.mutations + 1 }, (_, n) => set(`${n}`)),
  ],
  [
    "checks",
    Array.from({ length: KV_LIMITS.checks }, (_, n) => check(`${n}`)),
    Array.from({ length: KV_LIMITS.checks + 1 }, (_, n) => check(`${n}`)),
  ],
  // A key of one byte string takes its length, two bytes around it, and one for each zero.
  ["bytes", bytesInAll(KV_LIMITS.bytes), bytesInAll(KV_LIMITS.bytes + 1)],
  ["key bytes", keyBytesInAll(KV_LIMITS.keyBytes), keyBytesInAll(KV_LIMITS.keyBytes + 1)],
];

for (const [what, within, beyond] of edges) {
  Deno.test(`GroupCommit takes as many ${what} as Deno KV does, and no more`, async () => {
    const kv = await Deno.openKv(":memory:");
    const commit = new GroupCommit(kv);
    await commit.commit(within);
    await rejects(commit.commit(beyond), RangeError);
    await commit.close();
    const raw = (operations: KvOperation[]) => {
      const atomic = kv.atomic();
      for (const operation of operations) {
        if (operation.type === "set") atomic.set(operation.key, operation.value);
        else atomic.check({ key: operation.key, versionstamp: null });
      }
      return atomic.commit();
    };
    await rejects(raw(beyond), TypeError, "the limit of Deno KV itself has moved");
    kv.close();
  });
}

Deno.test("GroupCommit splits groups, never a caller, at the limits", async () => {
  const kv = new CountingKv(await Deno.openKv(":memory:"));
  const commit = new GroupCommit(kv.asKv);
  const large = (name: string) =>
    [0, 1, 2, 3].map((n) => set(`${name}${n}`, new Uint8Array(65_000)));
  await Promise.all(["a", "b", "c", "d", "e"].map((name) => commit.commit(large(name))));
  deepStrictEqual(kv.sizes, [12, 8]);
  await commit.close();
  kv.inner.close();
});

Deno.test("GroupCommit lets one failing caller sink nobody else", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  await kv.set(["taken"], 1);
  const outcomes = await Promise.allSettled([
    commit.commit([set("before")]),
    commit.commit([check("taken"), set("never")]),
    commit.commit([set("after")]),
  ]);
  deepStrictEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  strictEqual((await kv.get(["never"])).versionstamp, null);
  ok((await kv.get(["before"])).versionstamp);
  ok((await kv.get(["after"])).versionstamp);
  await commit.close();
  kv.close();
});

Deno.test("GroupCommit fails what waits behind a failure in its lane, in this group and the next", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  await kv.set(["taken"], 1);
  const lane = {};
  const filler = Array.from({ length: 900 }, (_, n) => set(`filler ${n}`));
  const outcomes = await Promise.allSettled([
    commit.commit([set("a1")], { lane }),
    commit.commit([check("taken"), set("a2")], { lane }),
    commit.commit([set("a3")], { lane }),
    commit.commit([set("b1")], { lane: {} }),
    commit.commit(filler),
    commit.commit(filler),
    commit.commit([set("a4")], { lane }),
  ]);
  deepStrictEqual(
    outcomes.map(({ status }) => status === "fulfilled"),
    [true, false, false, true, true, true, false],
  );
  strictEqual((await kv.get(["a3"])).versionstamp, null);
  strictEqual((await kv.get(["a4"])).versionstamp, null);
  await commit.commit([set("a5")], { lane });
  await commit.close();
  kv.close();
});

Deno.test("GroupCommit gives up the reserve for what frees space, and for nothing else", async () => {
  const kv = new CountingKv(await Deno.openKv(":memory:"));
  let released = 0;
  const commit = new GroupCommit(kv.asKv, {
    release: () => {
      kv.full = false;
      return Promise.resolve(released++ === 0);
    },
  });
  kv.full = true;
  await rejects(commit.commit([set("message")]), { name: "CairnError", code: "disk-full" });
  strictEqual(released, 0);
  await commit.commit([set("purge")], { freesSpace: true });
  strictEqual(released, 1);
  ok((await kv.inner.get(["purge"])).versionstamp);
  await commit.close();
  kv.inner.close();
});

Deno.test("GroupCommit commits what waits before it closes, and refuses after", async () => {
  const kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const last = commit.commit([set("last")]);
  await commit.close();
  ok((await kv.get(["last"])).versionstamp);
  await last;
  await rejects(commit.commit([set("later")]), { code: "closed" });
  kv.close();
});

function check(name: string): KvOperation {
  return { type: "check", key: [name], versionstamp: null };
}

/** Twelve full values and one that fills up to `total`, where each key counts twice. */
function bytesInAll(total: number): KvOperation[] {
  const keySize = "00".length + 2;
  const operations = Array.from(
    { length: 12 },
    (_, n) => byteKey(n, "00".length, new Uint8Array(KV_LIMITS.valueBytes)),
  );
  const used = 12 * KV_LIMITS.valueBytes + 13 * 2 * keySize;
  return [...operations, byteKey(12, "00".length, new Uint8Array(total - used))];
}

/** Keys of 1,002 bytes, and a last one that fills up to `total`. */
function keyBytesInAll(total: number): KvOperation[] {
  const count = Math.floor(total / 1002);
  const operations = Array.from({ length: count }, (_, n) => byteKey(n, 1000, 1));
  return [...operations, byteKey(count, total - count * 1002 - 2, 1)];
}

function byteKey(n: number, length: number, value: unknown): KvOperation {
  const part = new Uint8Array(length).fill(0xff);
  part[0] = n + 1;
  return { type: "set", key: [part], value };
}

/** Deno KV that counts its commits, and can pretend that the disk is full. */
class CountingKv {
  commits = 0;
  sizes: number[] = [];
  full = false;

  constructor(readonly inner: Deno.Kv) {}

  get asKv(): Deno.Kv {
    return new Proxy(this.inner, {
      get: (target, name) => name === "atomic" ? () => this.#atomic() : Reflect.get(target, name),
    });
  }

  #atomic(): Deno.AtomicOperation {
    const atomic = this.inner.atomic();
    let size = 0;
    return new Proxy(atomic, {
      get: (target, name) => {
        if (name === "commit") {
          return () => {
            this.commits++;
            this.sizes.push(size);
            if (this.full) return Promise.reject(new TypeError("database or disk is full"));
            return target.commit();
          };
        }
        return (...args: unknown[]) => {
          size++;
          return Reflect.apply(Reflect.get(target, name), target, args);
        };
      },
    });
  }
}
