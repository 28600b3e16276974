import { ok, rejects } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { FolderDisk } from "../../../src/roles/folder/folder_disk.ts";
import { FolderScan } from "../../../src/roles/folder/folder_scan.ts";
import { FolderState } from "../../../src/roles/folder/folder_state.ts";

Deno.test("A disk that goes in the middle of a look has deleted nothing", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-folder-scan-" });
  const root = `${folder}/files`;
  await Deno.mkdir(root);
  await Deno.writeTextFile(`${root}/notes.txt`, "precious");
  await Deno.utime(`${root}/notes.txt`, 1, 1);
  const state = await FolderState.open(`${folder}/index.kv`, {
    self: PeerId.ofPublicKey(new Uint8Array(32).fill(1)),
    label: "laptop",
    mark: "mark",
    host: systemHost,
  });
  try {
    let isMounted = true;
    const disk = new FolderDisk(root, () => Promise.resolve(isMounted));
    const scan = new FolderScan({
      disk,
      state,
      host: systemHost,
      onList: () => {},
      onSkipped: () => {},
      onPart: () => Promise.resolve(),
    });
    const look = () => scan.scan([""], new AbortController().signal);
    await look();
    ok(state.index.get("notes.txt")?.content);

    await Deno.remove(`${root}/notes.txt`);
    isMounted = false;
    await rejects(look(), { code: "data-folder-unusable" });
    ok(state.index.get("notes.txt")?.content);
    ok(state.files.has("notes.txt"));
    await rejects(disk.remove("notes.txt", undefined), { code: "data-folder-unusable" });
  } finally {
    await state.close();
    await Deno.remove(folder, { recursive: true });
  }
});
