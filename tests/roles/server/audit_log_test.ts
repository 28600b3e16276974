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

Deno.test("AuditLog keeps ten thousand records, and peers push out none of an operator", async () => {
  using kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const audit = await AuditLog.open(kv, commit, new TestHost());
  await audit.record({ actor: "cli", action: "peer.approve", peerId });
  const byPeers = Array.from({ length: 12_000 }, () => {
    return audit.record({ actor: "peer", action: "peer.pair", peerId });
  });
  await Promise.all(byPeers);
  const byOperator = Array.from({ length: 7_999 }, () => {
    return audit.record({ actor: "token", action: "pairing.offer" });
  });
  await Promise.all(byOperator);
  const again = await AuditLog.open(kv, commit, new TestHost());
  const all = await again.entries(20_000);
  strictEqual(all.length, 10_000);
  strictEqual(all.filter(({ actor }) => actor === "peer").length, 2_000);
  deepStrictEqual([all.at(-1)?.id, all.at(-1)?.action], [1, "peer.approve"]);
  await again.record({ actor: "token", action: "queue.purge", peerId });
  await again.record({ actor: "peer", action: "peer.unpair", peerId });
  const later = await again.entries(20_000);
  deepStrictEqual([later.length, later[0]?.id, later.at(-1)?.id], [10_000, 20_002, 10_003]);
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
  await kv.set(["peer-name", identityFor("tablet").peerId.toString()], "half \ud800");
  const again = await PeerNames.open(kv, commit);
  strictEqual(again.get(peerId), "Anna's phone");
  strictEqual(again.get(identityFor("tablet").peerId), "half \ufffd", "what can be sent to peers");
  await again.set(peerId, null);
  await again.set(peerId, null);
  strictEqual(again.get(peerId), undefined);
  strictEqual((await PeerNames.open(kv, commit)).get(peerId), undefined);
});
