/** Where a command writes something large, and from where it reads it: a file, or the standard ones. */

import { CairnError } from "../base/errors.ts";
import { isDiskFull } from "../roles/disk_full.ts";
import { type ByteSink, writeBytes } from "../roles/backup/write_bytes.ts";

/** Writes what passes through it, and yields it again. */
export type Passage = (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

/**
 * Lets `work` write to `path`, or to standard output for `-`. The file, mode 0600, appears under its
 * name when all of it is on the disk and `work` is done; one that is there already is refused.
 *
 * @throws {CairnError} `invalid-option` or `disk-full`.
 */
export async function writingTo<T>(
  path: string,
  { isText }: { readonly isText: boolean },
  work: (passage: Passage) => Promise<T>,
): Promise<T> {
  if (path === "-") {
    if (!isText && Deno.stdout.isTerminal()) {
      throw new CairnError("invalid-option", "FILE: - is a terminal here; name a file, or a pipe");
    }
    return await work((source) => through(source, Deno.stdout));
  }
  await requireAbsent(path);
  const unfinished = `${path}.partial`;
  try {
    await Deno.remove(unfinished).catch(() => {});
    let result: T;
    {
      using file = await create(unfinished, path);
      result = await work((source) => through(source, file));
      await file.sync();
    }
    await requireAbsent(path);
    await Deno.rename(unfinished, path);
    return result;
  } catch (cause) {
    await Deno.remove(unfinished).catch(() => {});
    throw fullOf(path, cause) ?? cause;
  }
}

/** Opens `unfinished`, which becomes `path`. @throws {CairnError}. */
async function create(unfinished: string, path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(unfinished, { createNew: true, write: true, mode: 0o600 });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw fullOf(path, cause) ??
      new CairnError("invalid-option", `FILE: cannot write "${path}": ${reason}`, { cause });
  }
}

/** What says that the disk of `path` is full, when `cause` says so of whatever disk. */
function fullOf(path: string, cause: unknown): CairnError | undefined {
  if (cause instanceof CairnError || !isDiskFull(cause)) return undefined;
  return new CairnError(
    "disk-full",
    `FILE: the disk of "${path}" is full: free some space, or name a file elsewhere`,
    { cause },
  );
}

/** The bytes of the file at `path`, or of standard input for `-`. @throws {CairnError}. */
export async function* readingFrom(path: string): AsyncGenerator<Uint8Array, void> {
  if (path === "-") return yield* Deno.stdin.readable;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (cause) {
    throw new CairnError("invalid-option", `FILE: cannot read "${path}"; is it there?`, { cause });
  }
  yield* file.readable;
}

async function* through(
  source: AsyncIterable<Uint8Array>,
  sink: ByteSink,
): AsyncGenerator<Uint8Array, void> {
  for await (const bytes of source) {
    await writeBytes(sink, bytes);
    yield bytes;
  }
}

async function requireAbsent(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch {
    return;
  }
  throw new CairnError("invalid-option", `FILE: "${path}" is there already; name another file`);
}
