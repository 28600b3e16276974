/** What `cairn doctor` finds out about this machine: its disk and its limits. */

import { dirname } from "node:path";
import { systemHost } from "../base/host.ts";
import { freeBytes } from "../roles/disk_space.ts";
import type { Diagnosis } from "./doctor.ts";

const GIB = 2 ** 30;
const LITTLE_SPACE = GIB;
/** With less the server takes no message. */
const NO_SPACE = 16 * 2 ** 20;
const WRITES = 9;
const BLOCK = new Uint8Array(4_096);
/** Milliseconds; a message is accepted once its write is on disk. */
const SLOW_SYNC = 50;
const FEW_FILES = 4_096;

/** Looks at the disk of `dataDir`, or of what is nearest to it, and at the limit of open files. */
export async function* examineMachine(dataDir: string): AsyncGenerator<Diagnosis> {
  const folder = await nearestFolder(dataDir);
  const say = (check: string, state: Diagnosis["state"], sentence: string): Diagnosis => (
    { check, subject: check === "files" ? "open files" : folder, state, sentence }
  );
  const free = await freeBytes(folder);
  const gib = (free / GIB).toFixed(1);
  yield free < NO_SPACE
    ? say("disk", "problem", "the disk is full: free some space, no message is taken in before")
    : free < LITTLE_SPACE
    ? say("disk", "note", `${gib} GiB are free on its disk: the mailbox may take 1 GiB by default`)
    : say("disk", "ok", `${gib} GiB are free on its disk`);
  const [state, sentence] = await examineSync(folder);
  yield say("fsync", state, sentence);
  const limit = await fileLimit();
  if (limit === undefined) return;
  yield limit < FEW_FILES
    ? say(
      "files",
      "note",
      `${limit} at a time are allowed, one for each connection: raise it with LimitNOFILE= of ` +
        "systemd, ulimits of Docker, or ulimit -n",
    )
    : say("files", "ok", `${limit} at a time are allowed`);
}

async function examineSync(
  folder: string,
): Promise<readonly [state: Diagnosis["state"], sentence: string]> {
  let path: string | undefined;
  try {
    path = await Deno.makeTempFile({ dir: folder, prefix: ".cairn-doctor-" });
    const times: number[] = [];
    using file = await Deno.open(path, { write: true });
    for (let i = 0; i < WRITES; i++) {
      const started = systemHost.monotonic();
      await file.write(BLOCK);
      await file.sync();
      times.push(systemHost.monotonic() - started);
    }
    const median = times.toSorted((one, other) => one - other)[WRITES >> 1] ?? 0;
    const shown = `${median.toFixed(1)} ms`;
    return median < SLOW_SYNC ? ["ok", `a write is on disk after ${shown}`] : [
      "note",
      `a write is on disk only after ${shown}, and so long each message takes: use another ` +
      "disk than a memory card or a network share",
    ];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      "problem",
      `this user cannot write there (${reason}): give the folder to the user who runs cairn, or ` +
      "name another one with CAIRN_DATA_DIR",
    ];
  } finally {
    if (path !== undefined) await Deno.remove(path).catch(() => {});
  }
}

async function nearestFolder(path: string): Promise<string> {
  for (let folder = path;; folder = dirname(folder)) {
    const info = await Deno.stat(folder).catch(() => undefined);
    if (info?.isDirectory || folder === dirname(folder)) return folder;
  }
}

/** `undefined` where the system does not say, and `Infinity` where there is none. */
async function fileLimit(): Promise<number | undefined> {
  const limits = await Deno.readTextFile("/proc/self/limits").catch(() => "");
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  return soft === "unlimited" ? Infinity : soft === undefined ? undefined : Number(soft);
}
