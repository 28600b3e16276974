import { deepEqual, equal, match } from "node:assert/strict";
import { type DataFolderKind, openDataFolder } from "../../src/roles/data_folder.ts";
import { RemoteNode } from "../../src/roles/peer/remote_node.ts";
import { copyFolder } from "../support/folder_copies.ts";
import { Garbage } from "../support/garbage.ts";
import { type BadInputScene, badInputTest, eventually, sentenceOf } from "./bad_input_scene.ts";
import { canMount, contents, editStore, SmallDisk, startOn, usedFolder } from "./bad_folders.ts";

const KINDS: readonly DataFolderKind[] = ["server", "peer"];
const RESTORE = "Nothing was changed. Restore the folder from a backup, or move it away to start " +
  "with an empty one";

/** What is done to a folder that was used, and what is said of it then. */
interface Damage {
  readonly what: string;
  readonly file: "cairn.kv" | "store.json";
  readonly do: (folder: string, garbage: Garbage) => Promise<void>;
  readonly said: string;
}

const DAMAGES: readonly Damage[] = [
  {
    what: "garbage in place of the store",
    file: "cairn.kv",
    do: (folder, garbage) => Deno.writeFile(`${folder}/cairn.kv`, garbage.bytes(20_000)),
    said: "it is not a store",
  },
  {
    what: "a store with garbage behind its first line",
    file: "cairn.kv",
    do: (folder, garbage) => overwrite(`${folder}/cairn.kv`, 100, garbage.bytes(20_000)),
    said: "it is damaged",
  },
  {
    what: "a store whose second half is garbage",
    file: "cairn.kv",
    async do(folder, garbage) {
      const { size } = await Deno.stat(`${folder}/cairn.kv`);
      const half = Math.floor(size / 2);
      await overwrite(`${folder}/cairn.kv`, half, garbage.bytes(size - half));
    },
    said: "it is damaged",
  },
  {
    what: "a store cut in half",
    file: "cairn.kv",
    async do(folder) {
      const { size } = await Deno.stat(`${folder}/cairn.kv`);
      await Deno.truncate(`${folder}/cairn.kv`, Math.floor(size / 2));
    },
    said: "it is damaged",
  },
  {
    what: "an empty store",
    file: "cairn.kv",
    do: (folder) => Deno.truncate(`${folder}/cairn.kv`, 0),
    said: "it is empty",
  },
  {
    what: "no store",
    file: "cairn.kv",
    do: (folder) => Deno.remove(`${folder}/cairn.kv`),
    said: "it is missing",
  },
  {
    what: "garbage in place of the marker",
    file: "store.json",
    do: (folder, garbage) => Deno.writeFile(`${folder}/store.json`, garbage.bytes(80)),
    said: "it is damaged",
  },
  {
    what: "a record that a flipped bit made an integer",
    file: "cairn.kv",
    async do(folder) {
      // Deno KV would end the whole process when it meets this.
      editStore(folder, "UPDATE kv SET v_encoding = 2 WHERE length(v) = 32");
      await Promise.resolve();
    },
    said: "it is damaged",
  },
];

for (const kind of KINDS) {
  badInputTest({
    name: `A ${kind} refuses a damaged data folder, changes nothing, and takes its backup back`,
    async story(scene) {
      const backup = await usedFolder(scene, kind);
      const folder = `${scene.folder}/data`;
      await copyFolder(backup, folder);
      const id = await identityOf(scene, kind, folder);
      for (const damage of DAMAGES) {
        await Deno.remove(folder, { recursive: true });
        await copyFolder(backup, folder);
        await damage.do(folder, new Garbage(damage.what));
        const before = await contents(folder);
        equal(
          sentenceOf(await startOn(scene, kind, folder)),
          `Cannot open ${folder}/${damage.file}: ${damage.said}. ${RESTORE}`,
          damage.what,
        );
        deepEqual(await contents(folder), before, damage.what);
      }
      await Deno.remove(folder, { recursive: true });
      await copyFolder(backup, folder);
      equal(await identityOf(scene, kind, folder), id);
    },
  });

  const other = kind === "server" ? "peer" : "server";
  badInputTest({
    name: `A ${kind} refuses the data folder of a ${other} and changes nothing`,
    async story(scene) {
      const folder = await usedFolder(scene, other);
      const before = await contents(folder);
      equal(
        sentenceOf(await startOn(scene, kind, folder)),
        `The data folder ${folder} cannot be used: it belongs to a cairn ${other}; name another ` +
          "folder",
      );
      deepEqual(await contents(folder), before);
    },
  });

  badInputTest({
    name: `A ${kind} refuses a data folder that is a file, or lies in one`,
    async story(scene) {
      const path = `${scene.folder}/diary`;
      await Deno.writeTextFile(path, "Dear diary");
      for (const folder of [path, `${path}/data`]) {
        equal(
          sentenceOf(await startOn(scene, kind, folder)),
          `The data folder ${folder} cannot be used: it cannot be created; is it a file, or is ` +
            "its parent not writable?",
        );
      }
      equal(await Deno.readTextFile(path), "Dear diary");
    },
  });

  badInputTest({
    name: `A ${kind} refuses a data folder that it may not write to and changes nothing`,
    ignore: !canMount,
    async story(scene) {
      const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "16m"));
      const folder = `${disk.path}/data`;
      await copyFolder(await usedFolder(scene, kind), folder);
      const before = await contents(folder);
      await disk.remount("ro");
      equal(
        sentenceOf(await startOn(scene, kind, folder)),
        `The data folder ${folder} cannot be used: this user cannot write to it; give it to the ` +
          "user who runs cairn",
      );
      match(
        sentenceOf(await startOn(scene, kind, `${folder}/new`)),
        /cannot be used: it cannot be created; is it a file, or is its parent not writable\?$/,
      );
      deepEqual(await contents(folder), before);
    },
  });
}

badInputTest({
  name: "A second server on a data folder is refused, and the first goes on undisturbed",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    const server = await scene.server(folder);
    const said = sentenceOf(await startOn(scene, "server", folder));
    equal(said, inUse(folder));
    await server.assertHealthy();
    await scene.peer("alice", server).pair();
  },
});

badInputTest({
  name: "A second reader on a data folder is refused after a while, and so is every command",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const { alice } = await scene.paired(server, "alice");
    alice.listen();
    await handoverOf(scene, alice.folder);
    const second = alice.run("listen", "--json");

    // Held by something that takes no commands, as a copy under way or another program does.
    const held = `${scene.folder}/held`;
    const folder = await openDataFolder({ path: held, kind: "peer" });
    const commands = ["id", "list"].map((verb) => scene.run(["peer", verb, "--data-dir", held]));
    for (const ended of await Promise.all(commands)) equal(sentenceOf(ended), inUse(held));
    await folder.close();
    equal(sentenceOf(await second), inUse(alice.folder));
    equal((await alice.run("list")).code, 0, "the first one still serves its commands");
  },
});

function inUse(folder: string): string {
  return `The data folder ${folder} is in use by another cairn process: stop that one or name ` +
    "another folder";
}

/** The Peer ID of a folder that can be opened. */
async function identityOf(
  scene: BadInputScene,
  kind: DataFolderKind,
  folder: string,
): Promise<string> {
  if (kind === "peer") {
    const { code, stdout, stderr } = await startOn(scene, kind, folder);
    equal(code, 0, stderr);
    return stdout;
  }
  const server = await scene.server(folder);
  await scene.stop(server.process);
  return server.id;
}

/** Waits until the `cairn peer listen` on `folder` takes commands. */
async function handoverOf(scene: BadInputScene, folder: string): Promise<void> {
  const node = await eventually(scene.deadline, () => RemoteNode.connect(folder), Boolean);
  await node?.close();
}

async function overwrite(path: string, at: number, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.seek(at, Deno.SeekMode.Start);
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}
