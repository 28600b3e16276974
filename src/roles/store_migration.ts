import { dirname } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { freeBytes } from "./disk_space.ts";

const log = getLogger(["cairn", "data-folder"]);

/** Room for the copy, and for the changes themselves. */
const ROOM_FACTOR = 2.5;

/**
 * Brings the records of a store from one format to the next. A crash may cut it short: it is then
 * done again from the start, on what it has made so far.
 */
export type Migration = (kv: Deno.Kv) => Promise<void>;

/** Migrations by the format that they start from. */
export type Migrations = ReadonlyMap<number, Migration>;

/** Where the copy of a store lies that was made before its format changed. */
export function copyPath(storeFile: string, format: number): string {
  return `${storeFile}.format-${format}`;
}

/**
 * Brings an open store to `to`, after it was copied. The caller then records the new format.
 *
 * @throws {CairnError} what `copy` throws; `data-folder-unusable` when no way leads from `from` to
 * `to`.
 */
export async function migrateStore(
  kv: Deno.Kv,
  { name, from, to, migrations, copy }: {
    /** The store in messages, at the start of a sentence. */
    name: string;
    from: number;
    to: number;
    migrations: Migrations;
    /** Copies the store unless that was done before; returns where the copy lies. */
    copy: () => Promise<string>;
  },
): Promise<void> {
  const steps: Migration[] = [];
  for (let format = from; format < to; format++) {
    const step = migrations.get(format);
    if (step === undefined) {
      throw new CairnError(
        "data-folder-unusable",
        `${name} cannot be used: its format ${from} is older than this version of ` +
          "cairn can read; start an earlier one on it first",
      );
    }
    steps.push(step);
  }
  log.info("The store goes from format {from} to {to}; a copy of before is {copy}", {
    from,
    to,
    copy: await copy(),
  });
  for (const step of steps) await step(kv);
}

/**
 * Copies a store in a file to `copy`, in the same folder, unless that is there already.
 *
 * @throws {CairnError} `disk-full` without room for it.
 */
export async function copyStore(storeFile: string, copy: string): Promise<string> {
  if (await exists(copy)) return copy;
  const folder = dirname(copy);
  const needed = Math.ceil((await Deno.stat(storeFile)).size * ROOM_FACTOR);
  const free = await freeBytes(folder);
  if (free < needed) {
    throw new CairnError(
      "disk-full",
      `The store of ${folder} is to be copied before its format changes: free ` +
        `${Math.ceil((needed - free) / 1_048_576)} MiB more on its disk and try again`,
    );
  }
  const unfinished = `${copy}.new`;
  await Deno.remove(unfinished).catch(() => {});
  (await Deno.open(unfinished, { create: true, write: true, mode: 0o600 })).close();
  const database = new DatabaseSync(storeFile);
  try {
    // VACUUM INTO needs permissions that the program has given up by then.
    await backup(database, unfinished);
  } finally {
    database.close();
  }
  {
    using file = await Deno.open(unfinished, { read: true, write: true });
    await file.sync();
  }
  await Deno.rename(unfinished, copy);
  return copy;
}

export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
