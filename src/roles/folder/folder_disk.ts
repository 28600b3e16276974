import { dirname, join } from "node:path";
import { CairnError } from "../../base/errors.ts";
import { foldersOf, OWN_PREFIX } from "../../protocol/folder/folder_path.ts";
import { PartFile } from "./part_file.ts";

const PART_SUFFIX = ".part";
/** As many digits of a content's name tell parts apart; the whole would be a long file name. */
const PART_NAME_DIGITS = 40;

/** What tells that a file is still the one that was looked at. */
export interface FileStat {
  readonly size: number;
  /** Unix milliseconds; may be negative. */
  readonly modified: number;
  /** When its contents, name or mode were changed last; 0 where the system does not say. */
  readonly changed: number;
  readonly inode: number;
  readonly executable: boolean;
}

/** Something at a path, or on the way to it, that is neither a file nor a folder of the tree. */
export class Obstacle extends Error {
  override readonly name = "Obstacle";
}

/**
 * The files of a synced folder. No path leads out of it: symbolic links are neither followed nor
 * written over. Paths are those that `pathFault` lets through.
 */
export class FolderDisk {
  /** Absolute. */
  readonly root: string;

  readonly #isThere: () => Promise<boolean>;

  /** `isThere` tells whether `root` is still the folder that is synced, and not an empty place. */
  constructor(root: string, isThere: () => Promise<boolean> = () => Promise.resolve(true)) {
    this.root = root;
    this.#isThere = isThere;
  }

  /** @throws {CairnError} `data-folder-unusable` when the folder is gone or not mounted. */
  async requireThere(): Promise<void> {
    if (await this.#isThere()) return;
    throw new CairnError(
      "data-folder-unusable",
      `The folder ${this.root} is gone or not mounted; nothing was deleted anywhere else`,
    );
  }

  /** The file at `path`; `undefined` when there is nothing. @throws {Obstacle} */
  async stat(path: string): Promise<FileStat | undefined> {
    if (!await this.#hasParent(path, false)) return undefined;
    const info = await infoOf(this.#at(path));
    if (!info) return undefined;
    if (info.isFile) return statOf(info);
    throw new Obstacle(info.isSymlink ? "a symbolic link is there" : "a folder is there");
  }

  /** Opens a file for reading. @throws {Obstacle} */
  async open(path: string): Promise<Deno.FsFile | undefined> {
    if (!await this.stat(path)) return undefined;
    try {
      return await Deno.open(this.#at(path), { read: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** Where a content gathers that is to become the file at `path`: in the same folder. */
  partOf(path: string, hash: string): string {
    const name = `${OWN_PREFIX}${hash.slice(0, PART_NAME_DIGITS)}${PART_SUFFIX}`;
    return join(dirname(this.#at(path)), name);
  }

  /** Makes the folders that `path` lies in, and opens the part there. @throws {Obstacle} */
  async openPart(path: string, hash: string): Promise<PartFile> {
    await this.#hasParent(path, true);
    return await PartFile.open(this.partOf(path, hash));
  }

  /** Whether there is a part of that content for `path`. */
  async hasPart(path: string, hash: string): Promise<boolean> {
    if (!await this.#hasParent(path, false)) return false;
    return (await infoOf(this.partOf(path, hash)))?.isFile ?? false;
  }

  /** Removes a part. */
  async removePart(path: string, hash: string): Promise<void> {
    if (await this.hasPart(path, hash)) await removed(this.partOf(path, hash));
  }

  /**
   * Lets a part, which is on disk, take the place of the file at `path`, if that is still as it was
   * when it was looked at; `undefined` otherwise. The change of name is on disk when this resolves.
   *
   * @throws {Obstacle}
   */
  async place(
    path: string,
    hash: string,
    { modified, executable, before }: {
      modified: number;
      executable: boolean;
      before: FileStat | undefined;
    },
  ): Promise<FileStat | undefined> {
    const part = this.partOf(path, hash);
    await setExecutable(part, executable);
    await Deno.utime(part, new Date(modified), new Date(modified));
    await this.requireThere();
    if (!sameStat(await this.stat(path), before)) return undefined;
    await Deno.rename(part, this.#at(path));
    await syncFolder(dirname(part));
    return await this.stat(path);
  }

  /** Makes a file executable or not. */
  async setMode(path: string, executable: boolean): Promise<FileStat | undefined> {
    if (await this.stat(path)) await setExecutable(this.#at(path), executable);
    return await this.stat(path);
  }

  /**
   * Removes a file if it is still as it was, and the folders that are empty without it. False when
   * it has changed. @throws {Obstacle}
   */
  async remove(path: string, before: FileStat | undefined): Promise<boolean> {
    await this.requireThere();
    const there = await this.stat(path);
    if (!there) return true;
    if (!sameStat(there, before)) return false;
    await removed(this.#at(path));
    for (const folder of foldersOf(path).reverse()) {
      // Fails for a folder that has something in it.
      const isGone = await Deno.remove(this.#at(folder)).then(() => true, () => false);
      if (!isGone) break;
    }
    await syncFolder(this.root);
    return true;
  }

  /** What lies directly in a folder; nothing when it cannot be read. */
  async list(folder: string): Promise<Deno.DirEntry[]> {
    try {
      return await Array.fromAsync(Deno.readDir(this.#at(folder)));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return [];
      }
      throw error;
    }
  }

  /** Whether a real folder of the tree is there. @throws {Obstacle} */
  async isFolder(path: string): Promise<boolean> {
    return path === "" || await this.#hasParent(`${path}/x`, false);
  }

  #at(path: string): string {
    return join(this.root, path);
  }

  async #hasParent(path: string, make: boolean): Promise<boolean> {
    for (const folder of foldersOf(path)) {
      const info = await infoOf(this.#at(folder));
      if (info?.isDirectory) continue;
      if (info) {
        throw new Obstacle(`"${folder}" is ${info.isSymlink ? "a symbolic link" : "a file"}`);
      }
      if (!make) return false;
      await Deno.mkdir(this.#at(folder)).catch((error) => {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      });
    }
    return true;
  }
}

/** Whether a name is that of a part. */
export function isPartName(name: string): boolean {
  return name.startsWith(OWN_PREFIX) && name.endsWith(PART_SUFFIX);
}

/** Whether both tell of the same state of the same file, or of none. */
export function sameStat(a: FileStat | undefined, b: FileStat | undefined): boolean {
  if (!a || !b) return a === b;
  return a.size === b.size && a.modified === b.modified && a.changed === b.changed &&
    a.inode === b.inode && a.executable === b.executable;
}

export function statOf(info: Deno.FileInfo): FileStat {
  return {
    size: info.size,
    modified: info.mtime?.getTime() ?? 0,
    changed: info.ctime?.getTime() ?? 0,
    inode: info.ino ?? 0,
    executable: ((info.mode ?? 0) & 0o100) !== 0,
  };
}

async function infoOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    const isAbsent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (isAbsent) return undefined;
    throw error;
  }
}

/** Who may read may execute; nobody, when it is not to be executable. */
async function setExecutable(path: string, executable: boolean): Promise<void> {
  if (Deno.build.os === "windows") return;
  const mode = ((await Deno.lstat(path)).mode ?? 0o644) & 0o777;
  await Deno.chmod(path, executable ? mode | (mode & 0o444) >> 2 : mode & ~0o111);
}

async function removed(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** A name is only safe once its folder is on disk; systems that cannot do that do it themselves. */
async function syncFolder(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using folder = await Deno.open(path, { read: true });
  await folder.sync();
}
