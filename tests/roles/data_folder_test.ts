import {
  deepStrictEqual,
  match,
  notDeepStrictEqual,
  ok,
  rejects,
  strictEqual,
} from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type DataFolder, openDataFolder } from "../../src/roles/data_folder.ts";
import { FORMAT_VERSION } from "../../src/roles/store_record.ts";

/** Runs `story` on a path where nothing is yet. */
function folderTest(name: string, story: (path: string) => Promise<void>): void {
  Deno.test(`openDataFolder() ${name}`, async () => {
    const parent = await Deno.makeTempDir();
    try {
      await story(`${parent}/data`);
    } finally {
      await Deno.remove(parent, { recursive: true });
    }
  });
}

async function inFolder<Result>(
  path: string,
  use: (folder: DataFolder) => Result | Promise<Result>,
): Promise<Result> {
  const folder = await openDataFolder({ path, kind: "server" });
  try {
    return await use(folder);
  } finally {
    await folder.close();
  }
}

/** A folder that was used and closed. Returns its store id. */
async function usedFolder(path: string): Promise<Uint8Array> {
  return await inFolder(path, async ({ kv, storeId }) => {
    for (let n = 0; n < 50; n++) await kv.set(["entry", n], new Uint8Array(5000).fill(n));
    return storeId;
  });
}

folderTest("creates a folder that only this user can read, and finds it again", async (path) => {
  const first = await inFolder(path, async (folder) => {
    strictEqual(folder.restored, false);
    strictEqual(folder.storeId.length, 16);
    ok(await folder.freeBytes() > 0);
    await folder.kv.set(["kept"], "yes");
    return folder.storeId;
  });
  const mode = async (name: string) => (await Deno.stat(`${path}${name}`)).mode! & 0o777;
  strictEqual(await mode(""), 0o700);
  for (const name of ["/cairn.kv", "/store.json", "/lock", "/reserve"]) {
    strictEqual(await mode(name), 0o600, name);
  }
  await inFolder(path, async (folder) => {
    deepStrictEqual(folder.storeId, first);
    strictEqual(folder.restored, false);
    strictEqual((await folder.kv.get(["kept"])).value, "yes");
  });
});

folderTest("lets only one at a time in, and may be closed twice", async (path) => {
  const folder = await openDataFolder({ path, kind: "server" });
  await rejects(openDataFolder({ path, kind: "server" }), {
    name: "CairnError",
    code: "data-folder-in-use",
  });
  await folder.close();
  await folder.close();
  await inFolder(path, () => {});
});

folderTest("finds its data after the process was killed", async (path) => {
  const script = `
    import { openDataFolder } from ${
    JSON.stringify(import.meta.resolve("../../src/roles/data_folder.ts"))
  };
    const folder = await openDataFolder({ path: ${JSON.stringify(path)}, kind: "server" });
    await folder.kv.set(["kept"], "yes");
    console.log(folder.storeId.toHex());
    setInterval(() => {}, 1000);
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", "--ext=ts", script],
    stdout: "piped",
    stderr: "null",
    cwd: new URL("../..", import.meta.url),
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value: storeId } = await reader.read();
  child.kill("SIGKILL");
  await child.status;
  while (!(await reader.read()).done);
  await inFolder(path, async (folder) => {
    strictEqual(folder.storeId.toHex(), storeId?.trim());
    strictEqual(folder.restored, false);
    strictEqual((await folder.kv.get(["kept"])).value, "yes");
  });
});

folderTest("notices that the folder was copied", async (path) => {
  const original = await usedFolder(path);
  const copy = `${path}-copy`;
  await Deno.mkdir(copy);
  for (const name of ["cairn.kv", "store.json"]) {
    await Deno.copyFile(`${path}/${name}`, `${copy}/${name}`);
  }
  const storeId = await inFolder(copy, (folder) => {
    strictEqual(folder.restored, true);
    notDeepStrictEqual(folder.storeId, original);
    return folder.storeId;
  });
  await inFolder(copy, (folder) => {
    strictEqual(folder.restored, false);
    deepStrictEqual(folder.storeId, storeId);
  });
});

folderTest("notices that an older store was written over the file", async (path) => {
  const original = await usedFolder(path);
  const backup = await Deno.readFile(`${path}/cairn.kv`);
  await usedFolder(path);
  const file = await Deno.open(`${path}/cairn.kv`, { write: true, truncate: true });
  await file.write(backup);
  file.close();
  await inFolder(path, (folder) => {
    strictEqual(folder.restored, true);
    notDeepStrictEqual(folder.storeId, original);
  });
});

folderTest("refuses a folder of the other kind and one of a newer format", async (path) => {
  await usedFolder(path);
  await rejects(openDataFolder({ path, kind: "peer" }), {
    code: "data-folder-unusable",
    message: /belongs to a cairn server/,
  });
  await inFolder(path, async ({ kv }) => {
    const { value } = await kv.get<Record<string, unknown>>(["cairn", "meta"]);
    await kv.set(["cairn", "meta"], { ...value, version: FORMAT_VERSION + 1 });
    // Closing writes this folder's own record again, so the store is changed behind its back.
    await Deno.copyFile(`${path}/cairn.kv-wal`, `${path}/newer-wal`);
    await Deno.copyFile(`${path}/cairn.kv`, `${path}/newer`);
  });
  await Deno.rename(`${path}/newer`, `${path}/cairn.kv`);
  await Deno.rename(`${path}/newer-wal`, `${path}/cairn.kv-wal`);
  await rejects(openDataFolder({ path, kind: "server" }), {
    code: "data-folder-unusable",
    message: /newer version of cairn/,
  });
});

folderTest("refuses what is not a folder, and another program's store", async (path) => {
  await Deno.writeTextFile(path, "a file");
  await rejects(openDataFolder({ path, kind: "server" }), { code: "data-folder-unusable" });
  await Deno.remove(path);
  await Deno.mkdir(path);
  const kv = await Deno.openKv(`${path}/cairn.kv`);
  await kv.set(["other"], "data");
  kv.close();
  await rejects(openDataFolder({ path, kind: "server" }), {
    code: "data-folder-unusable",
    message: /another program/,
  });
});

/** Ways to damage a used folder, and what the error says of it. */
const damages: [string, (path: string) => Promise<void>, RegExp][] = [
  ["an emptied store", (path) => Deno.truncate(`${path}/cairn.kv`, 0), /cairn\.kv: it is empty/],
  ["a missing store", (path) => Deno.remove(`${path}/cairn.kv`), /cairn\.kv: it is missing/],
  [
    "garbage in place of the store",
    (path) => Deno.writeFile(`${path}/cairn.kv`, new Uint8Array(8192).fill(0x5a)),
    /cairn\.kv: it is not a store/,
  ],
  ["a store cut short", (path) => Deno.truncate(`${path}/cairn.kv`, 20_000), /it is damaged/],
  ["a store damaged in the middle", async (path) => {
    const bytes = await Deno.readFile(`${path}/cairn.kv`);
    bytes.fill(0xa5, 40_960, 90_112);
    await Deno.writeFile(`${path}/cairn.kv`, bytes);
  }, /it is damaged/],
  ["a store that another program emptied", async (path) => {
    await Deno.remove(`${path}/cairn.kv`);
    (await Deno.openKv(`${path}/cairn.kv`)).close();
  }, /lost its contents/],
  ["the store of another folder", async (path) => {
    await usedFolder(`${path}-other`);
    await Deno.rename(`${path}-other/cairn.kv`, `${path}/cairn.kv`);
  }, /belongs to another folder/],
  [
    "a damaged marker",
    (path) => Deno.writeTextFile(`${path}/store.json`, "{"),
    /store\.json: it is damaged/,
  ],
];

for (const [what, damage, says] of damages) {
  folderTest(`refuses ${what} and changes nothing`, async (path) => {
    await usedFolder(path);
    await damage(path);
    const before = await contents(path);
    const error = await openDataFolder({ path, kind: "server" }).then(
      () => undefined,
      (error) => error,
    );
    strictEqual(error?.code, "data-folder-corrupt");
    match(error.message, says);
    match(error.message, /Nothing was changed.*backup.*move it away/);
    deepStrictEqual(await contents(path), before);
    // The lock is free again: the operator can restore and start.
    await Deno.remove(path, { recursive: true });
    await inFolder(path, () => {});
  });
}

folderTest("accepts a copy made by SQLite's own backup, as a restored store", async (path) => {
  await usedFolder(path);
  const copy = `${path}-restored`;
  await Deno.mkdir(copy);
  const database = new DatabaseSync(`${path}/cairn.kv`);
  database.exec(`VACUUM INTO '${copy}/cairn.kv'`);
  database.close();
  await inFolder(copy, async ({ kv, restored }) => {
    strictEqual(restored, true);
    deepStrictEqual((await kv.get(["entry", 7])).value, new Uint8Array(5000).fill(7));
  });
});

folderTest("sets space aside and gives it back", async (path) => {
  await inFolder(path, async ({ reserve }) => {
    strictEqual((await Deno.stat(`${path}/reserve`)).size, 256 * 1024);
    strictEqual(await reserve.release(), true);
    strictEqual(await reserve.release(), false);
    await reserve.refill();
    strictEqual((await Deno.stat(`${path}/reserve`)).size, 256 * 1024);
  });
});

/** The store and its marker, byte for byte. */
async function contents(path: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of ["cairn.kv", "store.json"]) {
    try {
      files[name] = (await Deno.readFile(`${path}/${name}`)).toBase64();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return files;
}
