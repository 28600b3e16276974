import { ok, rejects } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { checkStoreFile } from "../../src/roles/store_check.ts";

const PAGE_BYTES = 4_096;
/** So that every store here is one of those of which samples are checked. */
const CHECK_ALL_BELOW = 0;

async function withStore(story: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  const kv = await Deno.openKv(`${path}/cairn.kv`);
  for (const kind of ["first", "middle", "last"]) {
    for (let first = 0; first < 3_000; first += 500) {
      const atomic = kv.atomic();
      for (let n = first; n < first + 500; n++) atomic.set([kind, "record", n], `value ${n}`);
      await atomic.commit();
    }
  }
  kv.close();
  try {
    await story(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function check(path: string): Promise<void> {
  return checkStoreFile(path, undefined, CHECK_ALL_BELOW);
}

const DAMAGED = { code: "data-folder-corrupt", message: /it is damaged. Nothing was changed/ };

Deno.test("checkStoreFile() passes a large store that is sound", async () => {
  await withStore(check);
});

Deno.test("checkStoreFile() finds a misencoded value in a sample of each kind", async () => {
  for (const at of ["ASC LIMIT 1", "DESC LIMIT 1", "ASC LIMIT 1 OFFSET 3500"]) {
    await withStore(async (path) => {
      const database = new DatabaseSync(`${path}/cairn.kv`);
      database.exec(
        `UPDATE kv SET v_encoding = 2 WHERE k = (SELECT k FROM kv ORDER BY k ${at})`,
      );
      database.close();
      await rejects(check(path), DAMAGED, at);
    });
  }
});

Deno.test("checkStoreFile() refuses a large store that was cut short or lost its inner pages", async () => {
  await withStore(async (path) => {
    const file = await Deno.open(`${path}/cairn.kv`, { read: true, write: true });
    const { size } = await file.stat();
    ok(size > 100 * PAGE_BYTES);
    await file.truncate(size / 2);
    file.close();
    await rejects(check(path), DAMAGED);
  });
  await withStore(async (path) => {
    const database = new DatabaseSync(`${path}/cairn.kv`);
    const root = Number(
      database.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'kv'").get()?.["rootpage"],
    );
    database.close();
    using file = await Deno.open(`${path}/cairn.kv`, { write: true });
    await file.seek((root - 1) * PAGE_BYTES, Deno.SeekMode.Start);
    await file.write(new Uint8Array(PAGE_BYTES).fill(0xa5));
    await rejects(check(path), DAMAGED);
  });
});
