import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { INLINE_BYTES, KvBlobs, LARGEST_BODY_BYTES } from "../../src/roles/kv_blobs.ts";

const PREFIX = ["test", "blobs"];

interface Store {
  readonly kv: Deno.Kv;
  readonly commit: GroupCommit;
}

function storeTest(name: string, story: (store: Store) => Promise<void>): void {
  Deno.test(`KvBlobs ${name}`, async () => {
    const kv = await Deno.openKv(":memory:");
    const commit = new GroupCommit(kv);
    await story({ kv, commit });
    await commit.close();
    kv.close();
  });
}

storeTest("keeps a body of any size in its owner's record or beside it", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const sizes = [
    0,
    1,
    INLINE_BYTES,
    INLINE_BYTES + 1,
    65_536,
    65_537,
    326_400,
    326_401,
    1_109_761,
    2_000_000,
  ];
  for (const size of sizes) {
    const bytes = pattern(size);
    const { value, ops } = await blobs.storeBody(bytes);
    strictEqual(value instanceof Uint8Array, size <= INLINE_BYTES);
    await commit.commit([...ops, { type: "set", key: ["owner"], value: { body: value, size } }]);

    const stored = (await kv.get<{ body: typeof value }>(["owner"])).value!.body;
    deepStrictEqual(await blobs.readBody(stored), bytes, `size ${size}`);
    await commit.commit([...blobs.bodyDeleteOps(stored), { type: "delete", key: ["owner"] }]);
    strictEqual(await countOf(kv), 0, `size ${size}`);
  }
});

storeTest("removes the staging record with the owner's commit, and not before", async (store) => {
  const { kv, commit } = store;
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const { ops } = await blobs.storeBody(pattern(500_000));
  strictEqual(await countOf(kv, "staged"), 1);
  await commit.commit(ops);
  strictEqual(await countOf(kv, "staged"), 0);
  strictEqual(await countOf(kv, "part"), 8);
});

storeTest(
  "writes a body of a few parts in its owner's commit alone, a larger one in one more",
  async (store) => {
    const { kv, commit } = store;
    const blobs = new KvBlobs(kv, commit, PREFIX);
    let writes = 0;
    commit.onWrite = () => {
      writes++;
      return () => {};
    };
    for (const [size, commits] of [[60_000, 0], [300_000, 0], [400_000, 1], [1_048_576, 1]]) {
      writes = 0;
      const { ops } = await blobs.storeBody(pattern(size!));
      strictEqual(writes, commits, `size ${size}`);
      await commit.commit(ops);
    }
  },
);

storeTest("sweeps what an earlier run left staged, and nothing of this run", async (store) => {
  const { kv, commit } = store;
  const earlier = new KvBlobs(kv, commit, PREFIX);
  await earlier.storeBody(pattern(500_000));
  const kept = await earlier.storeBody(pattern(70_000));
  await commit.commit(kept.ops);

  const later = new KvBlobs(kv, commit, PREFIX);
  const own = await later.storeBody(pattern(400_000));
  await later.sweepStaged();
  strictEqual(await countOf(kv, "staged"), 1);
  strictEqual(await countOf(kv, "part"), 2 + 2);
  await commit.commit(own.ops);
  deepStrictEqual(await later.readBody(own.value), pattern(400_000));
  deepStrictEqual(await later.readBody(kept.value), pattern(70_000));
});

storeTest("refuses an owner's commit whose body was swept", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const { ops } = await blobs.storeBody(pattern(500_000));
  await new KvBlobs(kv, commit, PREFIX).sweepStaged();
  await rejects(commit.commit([...ops, { type: "set", key: ["owner"], value: 1 }]));
  strictEqual(await countOf(kv), 0);
});

storeTest("leaves nothing of an abandoned body", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const { value } = await blobs.storeBody(pattern(500_000));
  await blobs.abandon(value);
  strictEqual(await countOf(kv), 0);
});

storeTest("says when parts are missing", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const { value, ops } = await blobs.storeBody(pattern(300_000));
  await commit.commit(ops);
  const [, second] = await Array.fromAsync(kv.list({ prefix: [...PREFIX, "part"] }));
  await kv.delete(second!.key);
  strictEqual(await blobs.readBody(value), undefined);
});

storeTest("embeds a view without the rest of its buffer", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  const { value } = await blobs.storeBody(new Uint8Array(1_000_000).subarray(10, 20));
  await kv.set(["owner"], { value });
  ok(value instanceof Uint8Array && value.buffer.byteLength === 10);
});

storeTest("bounds the size of a body", async ({ kv, commit }) => {
  const blobs = new KvBlobs(kv, commit, PREFIX);
  await rejects(blobs.storeBody(new Uint8Array(LARGEST_BODY_BYTES + 1)), RangeError);
  const parts = Math.ceil(LARGEST_BODY_BYTES / 65_536);
  const ref = { blob: new Uint8Array(16).fill(1), parts, size: LARGEST_BODY_BYTES };
  await commit.commit([...blobs.deleteOps(ref), { type: "delete", key: ["owner"] }]);
});

function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, n) => n * 31 + (n >> 8) & 0xff);
}

async function countOf(kv: Deno.Kv, ...below: string[]): Promise<number> {
  return (await Array.fromAsync(kv.list({ prefix: [...PREFIX, ...below] }))).length;
}
