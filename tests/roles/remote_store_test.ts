import { deepStrictEqual, notDeepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { openRemoteStore } from "../../src/roles/remote_store.ts";
import { StoreLease } from "../../src/roles/store_lease.ts";
import { parseStoreLocation } from "../../src/roles/store_location.ts";
import { systemHost } from "../../src/base/host.ts";
import { FakeTime } from "../support/fake_time.ts";
import { bytesFor } from "../support/identities.ts";
import { KvConnectServer } from "../support/kv_connect.ts";

const LEASE = { store: "https://kv.example.com", formerOwner: undefined };

function ownerFor(label: string): Uint8Array {
  return bytesFor(label).slice(0, 16);
}

Deno.test("A store that another process renews its lease of is refused", async () => {
  using time = new FakeTime();
  using kv = await Deno.openKv(":memory:");
  const lease = await StoreLease.take(kv, { ...LEASE, owner: ownerFor("one"), host: time });
  const second = StoreLease.take(kv, { ...LEASE, owner: ownerFor("two"), host: time });
  const refused = rejects(second, { code: "data-folder-in-use", message: /in use by another/ });
  await elapseUntil(refused, time, kv);
  lease.abandon();
});

Deno.test("The store of a process that is gone is taken over, whose changes fail from then on", async () => {
  using time = new FakeTime();
  using kv = await Deno.openKv(":memory:");
  const former = await StoreLease.take(kv, { ...LEASE, owner: ownerFor("one"), host: time });
  former.abandon();
  const taking = StoreLease.take(kv, { ...LEASE, owner: ownerFor("two"), host: time });
  await elapseUntil(taking, time, kv);
  const lease = await taking;
  const late = await kv.atomic().check(former.fence).set(["message"], "late").commit();
  strictEqual(late.ok, false);
  const right = await kv.atomic().check(lease.fence).set(["message"], "right").commit();
  strictEqual(right.ok, true);
  await lease.release();
});

Deno.test("A process that stood still and lost its store learns of it at its next renewal", async () => {
  using time = new FakeTime();
  using kv = await Deno.openKv(":memory:");
  const former = await StoreLease.take(kv, { ...LEASE, owner: ownerFor("one"), host: time });
  const lease = await StoreLease.take(kv, {
    ...LEASE,
    owner: ownerFor("two"),
    formerOwner: ownerFor("one"),
    host: time,
  });
  const lost = rejects(former.lost, { code: "data-folder-in-use", message: /has taken over/ });
  await elapseUntil(lost, time, kv);
  await lease.release();
  const next = await StoreLease.take(kv, { ...LEASE, owner: ownerFor("three"), host: time });
  await next.release();
});

Deno.test("A remote store keeps its id on another machine, and gets another one when it was restored", async () => {
  await using server = new KvConnectServer();
  const folder = await Deno.makeTempDir({ prefix: "cairn-remote-" });
  Deno.env.set("DENO_KV_ACCESS_TOKEN", server.token);
  const open = (name: string) =>
    openRemoteStore({
      url: server.url,
      folder: `${folder}/${name}`,
      kind: "server",
      host: systemHost,
      migrations: new Map(),
    });
  try {
    const first = await open("one");
    const { storeId } = first;
    const commit = new GroupCommit(first.kv);
    await commit.commit([{ type: "set", key: ["message"], value: "before" }]);
    await first.close();
    const backup = server.copy();

    const second = await open("two");
    deepStrictEqual([second.storeId, second.restored], [storeId, false]);
    strictEqual((await second.kv.get(["message"])).value, "before");
    await second.close();
    const again = await open("one");
    deepStrictEqual([again.storeId, again.restored], [storeId, false]);
    await again.close();

    server.restore(backup);
    const restored = await open("one");
    strictEqual(restored.restored, true);
    notDeepStrictEqual(restored.storeId, storeId);
    await restored.close();
  } finally {
    Deno.env.delete("DENO_KV_ACCESS_TOKEN");
    await Deno.remove(folder, { recursive: true });
  }
});

for (
  const [text, location] of [
    ["/srv/cairn", { kind: "folder", path: "/srv/cairn" }],
    ["/srv/cairn/", { kind: "folder", path: "/srv/cairn" }],
    ["/srv/cairn/cairn.kv", { kind: "folder", path: "/srv/cairn" }],
    ["https://kv.example.com/path", { kind: "remote", url: "https://kv.example.com/path" }],
    ["http://127.0.0.1:4512", { kind: "remote", url: "http://127.0.0.1:4512" }],
    ["http://[::1]:4512", { kind: "remote", url: "http://[::1]:4512" }],
    ["http://localhost:4512", { kind: "remote", url: "http://localhost:4512" }],
    ["", undefined],
    ["http://kv.example.com", undefined],
    ["http://127.0.0.1.example.com", undefined],
    ["http://localhost.example.com", undefined],
    ["https://user:password@kv.example.com", undefined],
    ["https://:password@kv.example.com", undefined],
    ["https://kv.example.com/?token=secret", undefined],
    ["ftp://kv.example.com", undefined],
    ["https://", undefined],
  ] as const
) {
  Deno.test(`parseStoreLocation("${text}")`, () => {
    deepStrictEqual(parseStoreLocation(text), location);
  });
}

/** Lets time pass until `promise` has settled, and what was asked of the store meanwhile is done. */
async function elapseUntil(
  promise: Promise<unknown>,
  time: FakeTime,
  kv: Deno.Kv,
): Promise<void> {
  let pending = true;
  const settled = promise.finally(() => pending = false);
  for (let seconds = 0; pending && seconds < 600; seconds++) {
    await time.elapse(1_000);
    await kv.get(["nothing"]);
  }
  await settled;
}
