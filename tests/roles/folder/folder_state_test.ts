import { equal } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { FileContent } from "../../../src/protocol/folder/pieces.ts";
import { type DiskEdit, FolderState } from "../../../src/roles/folder/folder_state.ts";

const self = PeerId.ofPublicKey(new Uint8Array(32).fill(1));

Deno.test("Hundreds of files with long paths are kept, and are there after a restart", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-folder-state-" });
  const open = () =>
    FolderState.open(`${folder}/index.kv`, {
      self,
      label: "laptop",
      mark: "mark",
      host: systemHost,
    });
  try {
    const content: FileContent = { hash: "ab".repeat(32), size: 0, executable: false };
    const stat = { size: 0, modified: 1, changed: 1, inode: 1, executable: false };
    const edits = Array.from({ length: 400 }, (_, index): DiskEdit => {
      const path = `${"a folder of an ordinary name/".repeat(5)}${index}`;
      return { path, content, modified: 1, base: undefined, stat };
    });
    const first = await open();
    await first.edit(edits);
    await first.close();
    const second = await open();
    equal(second.files.size, edits.length);
    equal(second.index.size, edits.length);
    equal(second.pending.size, 0);
    await second.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("What was told and forgotten since is not counted anew", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-folder-state-" });
  let days = 0;
  const host = { ...systemHost, now: () => systemHost.now() + days * 86_400_000 };
  const open = () =>
    FolderState.open(`${folder}/index.kv`, { self, label: "laptop", mark: "mark", host });
  try {
    const content: FileContent = { hash: "ab".repeat(32), size: 0, executable: false };
    const stat = { size: 0, modified: 1, changed: 1, inode: 1, executable: false };
    const first = await open();
    await first.edit([{ path: "gone", content, modified: 1, base: undefined, stat }]);
    const base = first.files.get("gone")?.version;
    await first.edit([{ path: "gone", content: null, modified: 1, base, stat: undefined }]);
    const told = first.index.sequence;
    await first.setMember("phone", { joined: true, told });
    await first.close();
    days = 100;
    await (await open()).close();
    const third = await open();
    equal(third.index.size, 0, "the deletion is forgotten");
    await third.edit([{ path: "late", content, modified: 1, base: undefined, stat }]);
    equal(third.index.after(told, 10).length, 1, "the phone is told of what comes after it");
    await third.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
