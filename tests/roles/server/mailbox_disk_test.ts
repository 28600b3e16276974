import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { bodyOf, Inbox, openDesk, Outbox, peer, request, TestHost } from "./mailbox_scene.ts";

const [alice, bob] = [peer("alice"), peer("bob")];

/** A disk of 4 MiB, or `undefined` where this user may not mount one. */
async function smallDisk(): Promise<string | undefined> {
  const path = await Deno.makeTempDir();
  const mounted = await run("mount", "-t", "tmpfs", "-o", "size=4m", "none", path);
  if (mounted) return path;
  await Deno.remove(path);
  return undefined;
}

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options = { args, stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}

const disk = Deno.build.os === "linux" ? await smallDisk() : undefined;
if (disk !== undefined) {
  await run("umount", "--lazy", disk);
  await Deno.remove(disk);
}

for (const minFreeBytes of [0, 1024 * 1024]) {
  Deno.test({
    name: `The mailbox on a full disk refuses, lives and recovers (floor ${minFreeBytes})`,
    ignore: disk === undefined,
    async fn() {
      const path = await smallDisk();
      ok(path !== undefined);
      try {
        await fillAndRecover(path, minFreeBytes);
      } finally {
        // Lazily, since after a failed assertion files are still open.
        await run("umount", "--lazy", path);
        await Deno.remove(path);
      }
    },
  });
}

async function fillAndRecover(path: string, minFreeBytes: number): Promise<void> {
  const host = new TestHost();
  const others = `${path}/others`;
  await Deno.writeFile(others, new Uint8Array(512 * 1024));
  const folder = await openDataFolder({ path: `${path}/data`, kind: "server" });
  const first = await openDesk(folder, host, { limits: { minFreeBytes } });
  const accepted: string[] = [];
  const sizes = [20_000, 120_000, 1000];
  /** Forwards until the disk is full, which may be later than the first large body finds. */
  const forwardUntilFull = async () => {
    while (accepted.length < 1000) {
      const n = accepted.length + 1;
      const body = host.random(sizes[n % 3]!);
      body.set(bodyOf(`message ${n}\0`));
      const ack = await first.desk.forward(alice, request(bob, n, body));
      if (!ack.accepted) return ack.rejectionReason;
      accepted.push(`message ${n}`);
    }
  };
  strictEqual(await forwardUntilFull(), "the mailbox's disk is full");
  ok(accepted.length > 10, `${accepted.length} accepted`);
  strictEqual(first.desk.lastAccepted(alice, bob), accepted.length);

  // Others fill what is left, as happens on a shared disk.
  const hog = `${path}/hog`;
  await fill(hog);
  strictEqual(await forwardUntilFull(), "the mailbox's disk is full");

  // Alive: everything accepted can be read, and purging frees the reserve to make its records.
  const inbox = new Inbox(first.desk, bob);
  const outbox = new Outbox(first.desk, alice);
  await inbox.untilReceived(accepted.length);
  deepStrictEqual(inbox.texts(), accepted);
  await inbox.purge(...inbox.received.slice(0, 5));
  await outbox.untilReceived(5);
  await first.close();
  await folder.close();

  await Deno.remove(hog);
  await Deno.remove(others);
  const again = await openDataFolder({ path: `${path}/data`, kind: "server" });
  const second = await openDesk(again, host, { limits: { minFreeBytes: 0 } });
  const rest = new Inbox(second.desk, bob);
  await rest.untilReceived(accepted.length - 5);
  deepStrictEqual(rest.texts(), accepted.slice(5));
  await rest.purge(...rest.received);
  strictEqual(second.desk.totals().messages, 0);
  const ack = await second.desk.forward(alice, request(bob, accepted.length + 1));
  strictEqual(ack.accepted, true, ack.rejectionReason ?? "");
  await second.close();
  await again.close();
}

async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  for (let size = 65_536; size >= 512; size /= 2) {
    try {
      while (true) await file.write(new Uint8Array(size));
    } catch {
      // A smaller piece may still fit.
    }
  }
}
