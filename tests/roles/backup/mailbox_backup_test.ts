import { deepEqual } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { restoreBackup } from "../../../src/roles/backup/restore_backup.ts";
import { takeBackup } from "../../../src/roles/backup/take_backup.ts";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { loadIdentity } from "../../../src/roles/identity_store.ts";
import { Inbox, openDesk, peer, request, TestHost } from "../server/mailbox_scene.ts";

const PASSPHRASE = "nine green apples in a row";
const [alice, bob] = [peer("alice"), peer("bob")];

Deno.test("What was accepted this very moment is in a backup, and what was delivered is not", async () => {
  const base = await Deno.makeTempDir({ prefix: "cairn-mailbox-backup-" });
  const path = `${base}/server`;
  const host = new TestHost();
  const folder = await openDataFolder({ path, kind: "server" });
  await loadIdentity(folder.kv, systemHost);
  const scene = await openDesk(folder, host);
  try {
    const inbox = new Inbox(scene.desk, bob);
    const texts = Array.from({ length: 40 }, (_, i) => `${i} `.repeat(i % 4 === 0 ? 40_000 : 3));
    for (const [i, text] of texts.entries()) {
      await scene.desk.forward(alice, request(bob, i + 1, text));
    }
    await inbox.untilReceived(10);
    await inbox.purge(...inbox.received.slice(0, 10));

    // Nothing waits until the journal has brought its records to their places.
    const backup = takeBackup({ store: path, files: path }, PASSPHRASE, { workFactor: 10 });
    const restored = `${base}/restored`;
    await restoreBackup(backup, { passphrase: PASSPHRASE, kind: "server", folder: restored });

    const copy = await openDataFolder({ path: restored, kind: "server" });
    const again = await openDesk(copy, host);
    const reader = new Inbox(again.desk, bob);
    await reader.untilReceived(30);
    deepEqual(reader.texts(), texts.slice(10));
    deepEqual(again.desk.totals().messages, 30);
    deepEqual(again.desk.lastAccepted(alice, bob), 40);
    await again.close();
    await copy.close();
  } finally {
    await scene.close();
    await folder.close();
    await Deno.remove(base, { recursive: true });
  }
});
