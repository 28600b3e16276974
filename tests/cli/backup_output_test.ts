import { deepEqual, rejects } from "node:assert/strict";
import { writingTo } from "../../src/cli/backup_output.ts";

Deno.test("Only a FILE that cannot be made is wrong usage; a full disk is called one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-output-" });
  try {
    const failing = (error: Error) =>
      writingTo(`${folder}/file`, { isText: false }, () => Promise.reject(error));
    const full = Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
    await rejects(failing(full), { code: "disk-full", message: /^FILE: the disk of .* is full/ });
    const broken = new Error("The other side ended");
    await rejects(failing(broken), broken);
    await rejects(
      writingTo(`${folder}/absent/file`, { isText: false }, () => Promise.resolve()),
      { code: "invalid-option" },
    );
    deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
