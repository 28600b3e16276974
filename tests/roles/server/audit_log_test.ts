import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { GroupCommit } from "../../../src/roles/group_commit.ts";
import { AuditLog } from "../../../src/roles/server/audit_log.ts";
import { PeerNames } from "../../../src/roles/server/peer_names.ts";
import { identityFor } from "../../support/identities.ts";
import { TestHost } from "./mailbox_scene.ts";

const { peerId } = identityFor("phone");

Deno.test("AuditLog keeps who changed what and when, across restarts", async () => {
  using kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const host = new TestHost();
  const audit = await AuditLog.open(kv, commit, host);
  deepStrictEqual(await audit.entries(10), []);
  const first = host.now();
  await audit.record({ actor: "cli", action: "peer.approve", peerId });
  host.pass(5_000);
  await audit.record({ actor: "peer", action: "peer.pair", peerId, detail: "approved" });

  const again = await AuditLog.open(kv, commit, host);
  await again.record({ actor: "token", action: "pairing.offer", detail: "pin" });
  const text = peerId.toString();
  const last = first + 5_000;
  deepStrictEqual(await again.entries(10), [
    { id: 3, at: last, actor: "token", action: "pairing.offer", peerId: null, detail: "pin" },
    { id: 2, at: last, actor: "peer", action: "peer.pair", peerId: text, detail: "approved" },
    { id: 1, at: first, actor: "cli", action: "peer.approve", peerId: text, detail: null },
  ]);
  deepStrictEqual((await again.entries(1, 3)).map(({ id }) => id), [2]);
  deepStrictEqual(await again.entries(1, 1), []);
});

Deno.test("AuditLog keeps the latest ten thousand records", async () => {
  using kv = await Deno.openKv(":memory:");
  await kv.set(["audit", 1], { at: 0, actor: "token", action: "old", peerId: null, detail: null });
  await kv.set(["audit", 10_000], {
    at: 0,
    actor: "token",
    action: "newest",
    peerId: null,
    detail: null,
  });
  const audit = await AuditLog.open(kv, new GroupCommit(kv), new TestHost());
  await audit.record({ actor: "token", action: "one more" });
  deepStrictEqual((await audit.entries(10)).map(({ id }) => id), [10_001, 10_000]);
});

Deno.test("A change that the store cannot record is made all the same", async () => {
  using kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const audit = await AuditLog.open(kv, commit, new TestHost());
  await commit.close();
  await audit.record({ actor: "token", action: "queue.purge", peerId });
  deepStrictEqual(await audit.entries(10), []);
});

Deno.test("PeerNames keeps what the operator calls a peer, until the name is taken away", async () => {
  using kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const names = await PeerNames.open(kv, commit);
  strictEqual(names.get(peerId), undefined);
  await names.set(peerId, "Anna's phone");
  await names.set(identityFor("laptop").peerId, "laptop");
  const again = await PeerNames.open(kv, commit);
  strictEqual(again.get(peerId), "Anna's phone");
  await again.set(peerId, null);
  await again.set(peerId, null);
  strictEqual(again.get(peerId), undefined);
  strictEqual((await PeerNames.open(kv, commit)).get(peerId), undefined);
});
