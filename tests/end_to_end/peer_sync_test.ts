import { deepEqual, equal, ok } from "node:assert/strict";
import { filesOf } from "../support/folder_scene.ts";
import { FolderProcesses, type SyncLine } from "../support/folder_processes.ts";
import type { CairnProcess } from "../support/processes.ts";

Deno.test("cairn peer sync --once brings folders into step and ends", async () => {
  await using scene = await FolderProcesses.open(["laptop", "phone"], AbortSignal.timeout(300_000));
  await Deno.writeTextFile(`${scene.folder("laptop")}/notes.txt`, "hello");
  await Deno.writeTextFile(`${scene.folder("phone")}/list.txt`, "milk");
  const laptop = scene.sync("laptop");
  // With nobody there the phone would be in step at once.
  await scene.linked("laptop");
  const phone = scene.sync("phone", ["--once"]);
  equal(await phone.exit(), 0);
  const files = await filesOf(scene.folder("phone"));
  deepEqual(Object.keys(files), ["list.txt", "notes.txt"]);
  equal(await laptop.end(), 0);
  deepEqual(await filesOf(scene.folder("laptop")), files);
  ok(phone.output.all.every((line) => JSON.parse(line).event !== undefined));
});

Deno.test("A device killed in the middle of a large file, and its server too: it goes on", async () => {
  await using scene = await FolderProcesses.open(["laptop", "phone"], AbortSignal.timeout(400_000));
  const bytes = new Uint8Array(11_000_000);
  for (let start = 0; start < bytes.length; start += 65_536) {
    crypto.getRandomValues(bytes.subarray(start, start + 65_536));
  }
  await Deno.writeFile(`${scene.folder("laptop")}/large.bin`, bytes);
  const laptop = scene.sync("laptop");
  const first = scene.sync("phone");
  await partOf(scene, 1_000_000);
  await first.kill();
  await scene.killServer();
  await scene.startServer();
  const second = scene.sync("phone");
  await partOf(scene, 4_000_000);
  scene.proxy.cut();
  scene.proxy.mend();
  await upToDate(second);
  await laptop.kill();
  equal(await second.end(), 0);
  deepEqual(await filesOf(scene.folder("phone")), await filesOf(scene.folder("laptop")));
  const names = (await Array.fromAsync(Deno.readDir(scene.folder("phone")))).map(({ name }) =>
    name
  );
  deepEqual(names.sort(), [".cairn-folder", "large.bin"]);
});

/** Resolves when so many bytes of a file are on the phone's disk, or all of it. */
async function partOf(scene: FolderProcesses, size: number): Promise<void> {
  for (;;) {
    scene.deadline.throwIfAborted();
    for await (const { name } of Deno.readDir(scene.folder("phone"))) {
      const info = await Deno.stat(`${scene.folder("phone")}/${name}`).catch(() => undefined);
      if (info !== undefined && info.size >= size) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function upToDate(device: CairnProcess): Promise<void> {
  for await (const line of device.output) {
    const { event, names, files }: SyncLine = JSON.parse(line);
    if (event === "up-to-date" && names?.length === 1 && files === 1) return;
  }
}
