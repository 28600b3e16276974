import { deepEqual, equal, ok } from "node:assert/strict";
import { filesOf, FolderScene } from "../../support/folder_scene.ts";

Deno.test("Two devices end with the same files, large and small, and keep on doing so", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await laptop.write("notes.txt", "hello");
  await laptop.write("a/b/deep.txt", "deep");
  await laptop.write("empty", "");
  await laptop.write("large.bin", randomBytes(5_000_000));
  await laptop.write("tool.sh", "#!/bin/sh");
  await Deno.chmod(`${laptop.folder}/tool.sh`, 0o755);
  await phone.write("from-phone.txt", "hello laptop");
  await laptop.start();
  await phone.start();
  await Promise.all([laptop.settled(), phone.settled()]);
  const files = await filesOf(laptop.folder);
  deepEqual(await filesOf(phone.folder), files);
  equal(Object.keys(files).length, 6);
  ok(files["tool.sh"]?.startsWith("x"));

  await Deno.rename(`${laptop.folder}/large.bin`, `${laptop.folder}/renamed.bin`);
  await laptop.remove("a/b/deep.txt");
  await phone.write("notes.txt", "changed on the phone");
  await phone.until(
    async () => (await filesOf(phone.folder))["renamed.bin"] !== undefined,
    "rename",
  );
  await laptop.until(
    async () => await laptop.read("notes.txt") === "changed on the phone",
    "notes",
  );
  await Promise.all([laptop.settled(), phone.settled()]);
  deepEqual(await filesOf(phone.folder), await filesOf(laptop.folder));
  equal((await filesOf(phone.folder))["a/b/deep.txt"], undefined);
});

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += 65_536) {
    crypto.getRandomValues(bytes.subarray(start, start + 65_536));
  }
  return bytes;
}
