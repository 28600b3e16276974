import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import type { FileRecord } from "../../../src/protocol/folder/file_record.ts";
import {
  decodeFolderMessage,
  encodeFolderMessage,
  FOLDER_CHANNEL,
  type FolderMessage,
} from "../../../src/protocol/folder/folder_messages.ts";
import { nameOfList } from "../../../src/protocol/folder/pieces.ts";
import { filesOf, type FolderDevice, FolderScene } from "../../support/folder_scene.ts";

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
  await scene.startAll();
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
  for (const { node } of [laptop, phone]) {
    deepEqual(node!.contacts(), [], "whom the program writes to is nobody that the user knows");
  }
});

Deno.test("A folder with more files than the index takes is synced as far as it goes, and says so", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  for (const name of ["a", "b", "c", "d", "e"]) await laptop.write(`${name}.txt`, name);
  await laptop.start({ limits: { records: 3, copies: 1, deletions: 10 } });
  await phone.start();
  await Promise.all([laptop.settled(), phone.settled()]);
  const there = Object.keys(await filesOf(phone.folder));
  equal(there.length, 3);
  equal(laptop.sync!.leftOut, 2);
  const isSaid = () => laptop.events.some((each) => each.event === "full" && each.files === 2);
  await laptop.until(isSaid, "it to be said");

  await laptop.write(there[0]!, "changed");
  await phone.until(async () => await phone.read(there[0]!) === "changed", "a change");
  await laptop.stop();
  await laptop.start();
  await phone.until(async () => Object.keys(await filesOf(phone.folder)).length === 5, "the rest");
});

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += 65_536) {
    crypto.getRandomValues(bytes.subarray(start, start + 65_536));
  }
  return bytes;
}

Deno.test("A conflict leaves both sides on both devices, under the same names", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await laptop.write("notes.txt", "before");
  await scene.startAll();
  for (const device of [laptop, phone]) await device.stop();

  await laptop.write("notes.txt", "by the laptop");
  await phone.write("notes.txt", "by the phone");
  await laptop.write("kept.txt", "changed here, deleted nowhere");
  for (const device of [laptop, phone]) await device.start();
  const hasBoth = async (folder: string) =>
    Object.keys(await filesOf(folder)).filter((path) => path.startsWith("notes")).length === 2;
  for (const device of [laptop, phone]) {
    await device.until(() => hasBoth(device.folder), "both sides");
  }
  await Promise.all([laptop.settled(), phone.settled()]);
  const files = await filesOf(laptop.folder);
  deepEqual(await filesOf(phone.folder), files);
  const aside = Object.keys(files).find((path) => path.includes("(conflict "))!;
  match(aside, /^notes \(conflict (laptop|phone) \d{4}-\d\d-\d\d \d\d\.\d\d\)\.txt$/);
  const texts = [await laptop.read("notes.txt"), await laptop.read(aside)];
  deepEqual(texts.sort(), ["by the laptop", "by the phone"]);
});

Deno.test("Devices that are never there together get one another's files by the mailbox", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await scene.startAll();
  await phone.leave(laptop);
  await laptop.write("large.bin", randomBytes(3_000_000));
  await laptop.write("small.txt", "small");
  await laptop.until(() => changed(laptop, "large.bin") && changed(laptop, "small.txt"), "edits");
  await laptop.settled();
  await laptop.stop();

  await phone.start();
  await phone.until(() => received(phone, "large.bin") && received(phone, "small.txt"), "files");
  deepEqual(await filesOf(phone.folder), await filesOf(laptop.folder));
});

Deno.test("What the mailbox has no room for is fetched when both devices are there", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"], { mailboxBytes: 2_000_000 });
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await scene.startAll();
  await phone.leave(laptop);
  await laptop.write("large.bin", randomBytes(5_000_000));
  await laptop.until(() => laptop.events.some(({ event }) => event === "waits"), "a full mailbox");
  await laptop.write("later.txt", "behind it");
  await laptop.until(() => changed(laptop, "later.txt"), "an edit");
  await phone.start();
  await phone.until(() => received(phone, "large.bin") && received(phone, "later.txt"), "files");
  deepEqual(await filesOf(phone.folder), await filesOf(laptop.folder));
});

Deno.test("Three devices, one of them away: it comes back to the same folder", async () => {
  await using scene = await FolderScene.open(["laptop", "phone", "desktop"]);
  const all = ["laptop", "phone", "desktop"].map((name) => scene.device(name));
  const [laptop, phone, desktop] = [all[0]!, all[1]!, all[2]!];
  for (const name of ["a", "b", "c", "d"]) await laptop.write(`${name}.txt`, `first ${name}`);
  await scene.startAll();
  await desktop.stop();

  await laptop.write("a.txt", "by the laptop");
  await phone.write("b.txt", "by the phone");
  await phone.remove("c.txt");
  await Deno.rename(`${laptop.folder}/d.txt`, `${laptop.folder}/e.txt`);
  await desktop.write("a.txt", "by the desktop, while away");
  await laptop.until(() => received(laptop, "b.txt"), "the phone's change");
  await phone.until(() => received(phone, "a.txt") && received(phone, "e.txt"), "the laptop's");
  await desktop.start();
  const isSame = async () => {
    const lists = await Promise.all(all.map(({ folder }) => filesOf(folder)));
    return lists.every((list) => JSON.stringify(list) === JSON.stringify(lists[0])) &&
      Object.keys(lists[0]!).length === 4;
  };
  await desktop.until(isSame, "the same files on all");
  await Promise.all(all.map((device) => device.settled()));
  ok(await isSame());
  const files = await filesOf(desktop.folder);
  deepEqual(Object.keys(files).filter((path) => !path.startsWith("a")), ["b.txt", "e.txt"]);
});

Deno.test("What a hostile device says is written nowhere outside of the folder", async () => {
  await using scene = await FolderScene.open(["laptop", "mallory"]);
  const [laptop, mallory] = [scene.device("laptop"), scene.device("mallory")];
  await laptop.write("sound.txt", "sound");
  const outside = `${scene.root}/outside`;
  await Deno.mkdir(outside);
  await Deno.mkdir(laptop.folder, { recursive: true });
  await Deno.symlink(outside, `${laptop.folder}/link`);
  await scene.startAll();
  await mallory.sync!.close();
  mallory.sync = undefined;

  const bytes = new TextEncoder().encode("evil");
  const list = sha256(bytes);
  const content = { hash: nameOfList(list), size: bytes.length, executable: true, list };
  const say = async (data: Uint8Array) => {
    await (await mallory.node!.send(scene.idOf("laptop"), FOLDER_CHANNEL, data)).accepted;
  };
  const record = (path: string): FileRecord => ({
    path,
    content,
    modified: 1,
    device: "mallory",
    version: new Map([[toHex(scene.idOf("mallory").bytes), Date.now() + 1_000]]),
  });
  const changes = (path: string): FolderMessage => {
    return { kind: "changes", folder: "photos", records: [record(path)], pushed: false };
  };
  const paths = [
    "../evil",
    "/tmp/evil",
    "a/../../evil",
    ".cairn-folder",
    "link/evil",
    "sound.txt/x",
  ];
  for (const path of paths) await say(encodeFolderMessage(changes(path)));
  await say(randomBytes(1_000));
  await say(encodeFolderMessage(changes("harmless.txt")));
  const pieces = [{ hash: content.hash, index: 0, bytes }];
  await say(encodeFolderMessage({ kind: "pieces", folder: "photos", pieces }));
  await laptop.until(() => received(laptop, "harmless.txt"), "what is in order");

  deepEqual(await Array.fromAsync(Deno.readDir(outside)), []);
  deepEqual(
    (await Array.fromAsync(Deno.readDir(scene.root))).filter(({ name }) => name === "evil"),
    [],
  );
  equal(await laptop.read("harmless.txt"), "evil");
  ok(laptop.events.some((each) => each.event === "unsound" && each.rows === 1));
  ok(laptop.events.some((each) => each.event === "skipped" && each.path === "link"));
  ok(laptop.events.some((each) => each.event === "skipped" && each.path === "link/evil"));
  const texts = await Promise.all(
    Object.keys(await filesOf(laptop.folder)).filter((path) => path.startsWith("sound"))
      .map((path) => laptop.read(path)),
  );
  ok(texts.includes("sound"));
});

Deno.test("A folder whose disk is not mounted deletes nothing anywhere else", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await laptop.write("notes.txt", "precious");
  await scene.startAll();
  const failure = rejects(laptop.sync!.failed, { code: "data-folder-unusable" });
  await Deno.rename(laptop.folder, `${laptop.folder}-unmounted`);
  await Deno.mkdir(laptop.folder);
  await laptop.write("other.txt", "something else is there");
  laptop.sync!.lookAgain();
  await failure;
  await rejects(laptop.restart(), { code: "data-folder-unusable" });
  equal(await phone.read("notes.txt"), "precious");
});

Deno.test("Messages of other channels stay for whoever reads them", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await phone.start();
  await laptop.start();
  const sent = await laptop.node!.send(scene.idOf("phone"), "chat", new TextEncoder().encode("hi"));
  await sent.accepted;
  await laptop.write("notes.txt", "behind it");
  await phone.until(() => received(phone, "notes.txt"), "the file");
  await phone.stop();
  const message = await phone.nextMessage();
  equal(message.channel, "chat");
  equal(message.id, sent.id);
});

Deno.test("What comes while a sync ends stays for its next life", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  const came: string[] = [];
  let end: Promise<void> | undefined;
  // Handlers are called in order, and this one before the sync's own.
  const endAtFirst = () =>
    phone.node!.on("message", ({ id }) => {
      came.push(id);
      end ??= phone.sync!.close();
    });
  await phone.start({ onEvent: ({ event }) => void (event === "started" && endAtFirst()) });
  await laptop.start();
  await phone.until(() => end !== undefined, "a message");
  await end;
  phone.sync = undefined;
  await phone.stop();
  equal((await phone.nextMessage()).id, came[0]);
});

Deno.test("What .cairnignore names stays where it is, and is not deleted elsewhere", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  await laptop.write(".cairnignore", "*.tmp\nprivate/\n");
  await laptop.write("x.tmp", "x");
  await laptop.write("private/diary.txt", "secret");
  await laptop.write("notes.txt", "notes");
  await phone.write("y.tmp", "the phone has no such rule");
  await scene.startAll();
  deepEqual(Object.keys(await filesOf(phone.folder)), ["notes.txt", "y.tmp"]);
  deepEqual(Object.keys(await filesOf(laptop.folder)), ["notes.txt", "private/diary.txt", "x.tmp"]);
});

function received(device: FolderDevice, path: string): boolean {
  return device.events.some((each) => each.event === "received" && each.path === path);
}

function changed(device: FolderDevice, path: string): boolean {
  return device.events.some((each) => each.event === "changed" && each.path === path);
}

Deno.test("A device that was stopped in the middle of a file asks only for what it lacks", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  const pieces = 32;
  await laptop.write("large.bin", randomBytes(pieces * 262_144));
  for (const device of [laptop, phone]) await device.start();
  // Where it is all there before anybody looks, nothing may be asked for again.
  const hasPart = async () => received(phone, "large.bin") || await partSize(phone) > 2 * 262_144;
  await phone.until(hasPart, "a part of the file");
  await phone.stop();
  const here = received(phone, "large.bin") ? pieces : Math.floor(await partSize(phone) / 262_144);

  const asked = new Set<number>();
  laptop.node!.on("message", ({ data }) => {
    const { said } = decodeFolderMessage(data);
    if (said.kind !== "want") return;
    for (const { indices } of said.requests) for (const index of indices) asked.add(index);
  });
  await phone.start();
  await phone.until(() => received(phone, "large.bin"), "the file");
  deepEqual(await filesOf(phone.folder), await filesOf(laptop.folder));
  ok(asked.size <= pieces - here, `${asked.size} of ${pieces} were asked for, ${here} were here`);
});

Deno.test("A change in the middle of a large file takes one piece", async () => {
  await using scene = await FolderScene.open(["laptop", "phone"]);
  const [laptop, phone] = [scene.device("laptop"), scene.device("phone")];
  const bytes = randomBytes(20 * 262_144);
  await laptop.write("large.bin", bytes);
  await scene.startAll();
  const came: number[] = [];
  const hear = ({ data }: { data: Uint8Array }) => {
    const { said } = decodeFolderMessage(data);
    if (said.kind === "pieces") came.push(...said.pieces.map(({ index }) => index));
  };
  phone.node!.on("message", hear);
  phone.node!.on("transient", hear);
  bytes[5 * 262_144] = (bytes[5 * 262_144] ?? 0) ^ 1;
  await laptop.write("large.bin", bytes);
  await phone.until(
    async () =>
      (await filesOf(phone.folder))["large.bin"] === (await filesOf(laptop.folder))["large.bin"],
    "it",
  );
  await phone.settled();
  // It may be asked for again where it is long in coming.
  deepEqual([...new Set(came)], [5]);
});

/** Bytes of the part that is being put together at the top of a device's folder. */
async function partSize(device: FolderDevice): Promise<number> {
  for await (const { name } of Deno.readDir(device.folder)) {
    if (!name.endsWith(".part")) continue;
    // It may just have taken its place.
    const part = await Deno.stat(`${device.folder}/${name}`).catch(() => undefined);
    return part?.size ?? 0;
  }
  return 0;
}
