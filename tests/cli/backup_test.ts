import { deepEqual, equal, match, ok } from "node:assert/strict";
import { startServer } from "../../src/roles/server/run_server.ts";
import { runCairn } from "./run_cairn.ts";

const PASSPHRASE = "nine green apples in a row";
const ENV = { CAIRN_BACKUP_PASSPHRASE: PASSPHRASE };
const STRANGER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

async function withFolder(story: (base: string) => Promise<void>): Promise<void> {
  const base = await Deno.makeTempDir({ prefix: "cairn-cli-backup-" });
  try {
    await story(base);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

Deno.test("cairn peer backup and restore make the same peer elsewhere", async () => {
  await withFolder(async (base) => {
    const [folder, file, other] = [`${base}/peer`, `${base}/peer.age`, `${base}/other`];
    const id = (await runCairn(["peer", "id", "--data-dir", folder])).stdout.trim();
    const backup = ["peer", "backup", file, "--data-dir", folder];

    const made = await runCairn(backup, { env: ENV });
    equal(made.code, 0, made.stderr);
    match(made.stdout, new RegExp(`^Backup of peer ${id} as of 20\\S+Z \\(store format \\d`));
    equal((await Deno.stat(file)).mode! & 0o777, 0o600);

    const again = await runCairn(backup, { env: ENV });
    deepEqual(again, { code: 2, stdout: "", stderr: again.stderr });
    match(again.stderr, /is there already; name another file/);
    const short = await runCairn(["peer", "backup", "-", "--data-dir", folder], {
      env: { CAIRN_BACKUP_PASSPHRASE: "short" },
    });
    deepEqual([short.code, short.stdout], [2, ""]);
    match(short.stderr, /at least 12 characters/);
    const without = await runCairn(["peer", "restore", file]);
    equal(without.code, 2);
    match(without.stderr, /by --passphrase-file or CAIRN_BACKUP_PASSPHRASE/);

    await Deno.writeTextFile(`${base}/passphrase`, `${PASSPHRASE}\n`);
    const withFile = ["--passphrase-file", `${base}/passphrase`];
    const checked = await runCairn(["peer", "restore", file, "--verify", ...withFile]);
    equal(checked.code, 0, checked.stderr);
    match(checked.stdout, new RegExp(`^Whole and right: peer ${id}`));
    const restored = await runCairn(["peer", "restore", file, "--data-dir", other, ...withFile]);
    equal(restored.code, 0, restored.stderr);
    match(restored.stdout, new RegExp(`^Restored peer ${id} .*, in ${other}\n$`));
    equal((await runCairn(["peer", "id", "--data-dir", other])).stdout.trim(), id);

    await Deno.writeTextFile(`${base}/passphrase`, "another passphrase\n");
    const wrong = await runCairn(["peer", "restore", file, "--data-dir", other, ...withFile]);
    equal(wrong.code, 1);
    match(wrong.stderr, /is not empty/);
    const wrongToo = await runCairn(["peer", "restore", file, "--verify", ...withFile]);
    equal(wrongToo.code, 1);
    match(wrongToo.stderr, /^error: The passphrase does not open this backup/);
  });
});

Deno.test("The verbs about a running server ask it, and the audit log says so", async () => {
  await withFolder(async (base) => {
    const storagePath = `${base}/server`;
    const server = await startServer({
      storagePath,
      listenAddr: "127.0.0.1:0",
      management: { port: 0 },
    });
    try {
      const port = String(server.addresses.management?.port);
      const access = ["--data-dir", storagePath, "--mgmt-port", port];
      const made = await runCairn(["server", "backup", "-", ...access], { env: ENV });
      equal(made.code, 0, made.stderr);
      ok(made.stdout.startsWith("age-encryption.org/v1\n"));
      match(made.stderr, new RegExp(`^Backup of server ${server.peerId}`));

      const traced = await runCairn(["server", "trace", "0".repeat(32), ...access]);
      deepEqual([traced.code, traced.stdout], [1, ""]);
      match(traced.stderr, /No message of this id is known any more/);
      const exported = await runCairn(["server", "export", STRANGER, ...access]);
      deepEqual([exported.code, exported.stdout], [1, ""]);
      match(exported.stderr, /No peer of this id is paired/);

      const token = (await Deno.readTextFile(`${storagePath}/mgmt_token`)).trim();
      const response = await fetch(`http://127.0.0.1:${port}/audit`, {
        headers: { authorization: `Bearer ${token}` },
      });
      const { entries } = await response.json();
      const done = entries.map(({ actor, action }: Record<string, string>) => `${actor} ${action}`);
      deepEqual(done, ["cli backup.take"]);
    } finally {
      await server.close();
    }
  });
});
