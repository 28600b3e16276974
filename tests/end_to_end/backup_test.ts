/** Servers and peers go on from their backups: nothing is lost, and nothing comes twice. */

import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import {
  decodeForwardAck,
  decodeForwardPurge,
  decodeMailboxStatus,
} from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { KvMailboxStore } from "../../src/roles/server/kv_mailbox_store.ts";
import { CrashScene, texts } from "../support/crash_scene.ts";
import type { PeerActor, Sent } from "../support/peer_actor.ts";
import type { CairnProcess } from "../support/processes.ts";

const PASSPHRASE = "nine green apples in a row";
const WITH_PASSPHRASE = { env: { CAIRN_BACKUP_PASSPHRASE: PASSPHRASE } };

Deno.test("A backup taken under load restores to exactly what was accepted at its moment", async () => {
  await using scene = await CrashScene.open(["alice", "bob", "carol"], 480);
  const { alice, bob, carol } = scene.peers;
  const file = `${scene.folder}/server.age`;
  for (const text of texts("read before", 3)) await alice.sendAccepted(bob, text);
  await bob.readAll();

  const senders = [await alice.listenOnline(), await carol.listenOnline()];
  await accepted(await alice.handOver(bob, texts("accepted before, of alice", 4)));
  await accepted(await carol.handOver(bob, texts("accepted before, of carol", 4)));
  const before = new Map([alice, carol].map((peer) => [peer, acceptedIds(peer)]));
  const backup = scene.server.backUp(file, PASSPHRASE);
  const load = [await underLoad(backup, alice, bob), await underLoad(backup, carol, bob)];
  equal(await backup.exit(), 0, backup.log.all.join("\n"));
  await Promise.all(load.map(accepted));
  const during = new Map([alice, carol].map((peer) => [peer, acceptedIds(peer)]));
  await accepted(await alice.handOver(bob, texts("accepted after", 3)));
  for (const sender of senders) equal(await sender.end(), 0);
  await scene.server.stop();

  await restore(scene, "server", file, `${scene.folder}/looked into`);
  const held = await waitingIds(`${scene.folder}/looked into`, [alice, carol], bob);
  for (const peer of [alice, carol]) {
    const ids = held.get(peer) ?? [];
    const [least, most] = [before.get(peer) ?? [], during.get(peer) ?? []];
    const unread = most.filter((id) => !purgedIds(bob).has(id));
    deepEqual(ids, unread.slice(0, ids.length), `${peer.name}: all up to a moment, in order`);
    ok(ids.length >= least.filter((id) => unread.includes(id)).length, "what came before is in it");
  }

  // Until it is restored, bob reads on: the backup holds messages that he has.
  await scene.server.start();
  await bob.readAll();
  await alice.sendAccepted(bob, "not in the backup");
  const [storeBefore] = storeIds(carol);
  await scene.server.stop();
  await Deno.remove(scene.server.folder, { recursive: true });
  await restore(scene, "server", file, scene.server.folder);
  await scene.server.start();
  const offeredAgain = alice.proxy.next("down", MessageType.ForwardAck, 1);
  const back = [await alice.listenOnline(), await carol.listenOnline()];
  await offeredAgain;
  notDeepEqual(storeIds(carol).at(-1), storeBefore);
  await bob.readAll();
  await carol.handOver(bob, ["and on"]).then(accepted);
  await bob.readAll();
  for (const sender of back) equal(await sender.end(), 0);
  await scene.assertAllArrived();
});

Deno.test("A peer that is restored from a backup goes on, in new sessions", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const file = `${scene.folder}/alice.age`;
  await alice.converse(bob, "before the backup");
  const listening = await alice.listenOnline();
  const backup = scene.start(
    ["peer", "backup", file, "--data-dir", alice.folder],
    WITH_PASSPHRASE,
  );
  equal(await backup.exit(), 0, backup.log.all.join("\n"));
  await accepted(await alice.handOver(bob, texts("after the backup", 3)));
  equal(await listening.end(), 0);

  await Deno.remove(alice.folder, { recursive: true });
  await restore(scene, "peer", file, alice.folder);
  for (const text of texts("from the backup", 2)) await alice.sendAccepted(bob, text);
  await bob.readAll();
  await alice.converse(bob, "and on");

  await scene.assertAllArrived();
});

/** Hands messages over, one after the other, until the backup is there. */
async function underLoad(backup: CairnProcess, from: PeerActor, to: PeerActor): Promise<Sent[]> {
  const sent: Sent[] = [];
  let isDone = false;
  const done = backup.output.first(1).then(() => isDone = true);
  for (let count = 0; count < 12 || !isDone && count < 200; count++) {
    sent.push(...await from.handOver(to, [`${from.name} under load ${count}`]));
  }
  await done;
  return sent;
}

async function accepted(sent: readonly Sent[]): Promise<void> {
  await Promise.all(sent.map(({ accepted }) => accepted));
}

/** Ids of what the server has accepted, in the order in which it said so. */
function acceptedIds({ proxy }: PeerActor): string[] {
  const ids = proxy.all("down", MessageType.ForwardAck)
    .map(({ payload }) => decodeForwardAck(payload))
    .filter(({ accepted }) => accepted).map(({ msgId }) => toHex(msgId));
  return [...new Set(ids)];
}

/** Ids of what a reader has taken and told the server to purge. */
function purgedIds({ proxy }: PeerActor): Set<string> {
  const purges = proxy.all("up", MessageType.ForwardPurge);
  return new Set(purges.flatMap(({ payload }) => decodeForwardPurge(payload).msgIds).map(toHex));
}

/** Ids of what waits in the mailbox of a folder that no process has open, by sender, in order. */
async function waitingIds(
  path: string,
  senders: readonly PeerActor[],
  reader: PeerActor,
): Promise<Map<PeerActor, string[]>> {
  const folder = await openDataFolder({ path, kind: "server" });
  ok(folder.restored);
  const commit = new GroupCommit(folder.kv);
  const store = await KvMailboxStore.open(folder.kv, commit, systemHost);
  const found = new Map<PeerActor, string[]>();
  for (const sender of senders) {
    const { messages, isLast } = await store.waiting(sender.id, reader.id, -1, 1_000);
    ok(isLast);
    found.set(sender, messages.map(({ msgId }) => toHex(msgId)));
  }
  await commit.close();
  await store.close();
  await folder.close();
  return found;
}

async function restore(
  scene: CrashScene,
  kind: "server" | "peer",
  file: string,
  folder: string,
): Promise<void> {
  const restoring = scene.start([kind, "restore", file, "--data-dir", folder], WITH_PASSPHRASE);
  equal(await restoring.exit(), 0, restoring.log.all.join("\n"));
}

function storeIds({ proxy }: PeerActor): string[] {
  return proxy.all("down", MessageType.MailboxStatus)
    .map(({ payload }) => toHex(decodeMailboxStatus(payload).storeId));
}
