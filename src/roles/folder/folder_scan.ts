import type { Host } from "../../base/host.ts";
import { sameContent } from "../../protocol/folder/file_record.ts";
import { foldersOf, OWN_PREFIX, pathFault } from "../../protocol/folder/folder_path.ts";
import {
  type FileContent,
  MAX_FILE_SIZE,
  MAX_INLINE_PIECES,
  pieceCount,
} from "../../protocol/folder/pieces.ts";
import { type FileStat, type FolderDisk, isPartName, Obstacle, sameStat } from "./folder_disk.ts";
import type { DiskEdit, FolderState, LocalFile } from "./folder_state.ts";
import { hashFile } from "./part_file.ts";

/** A file that was written to so recently is looked at again before it counts as changed. */
const SETTLED_AFTER_MS = 700;
/** Edits that are kept and told of together. */
const EDITS_PER_BATCH = 200;

/** What a scan stands on. */
export interface FolderScanParts {
  readonly disk: FolderDisk;
  readonly state: FolderState;
  readonly host: Host;
  /** The list of pieces of a content that was just read. */
  readonly onList: (hash: string, list: Uint8Array) => void;
  /** What cannot be synced, and why. */
  readonly onSkipped: (path: string, reason: string) => void;
  /** A part that may be left from an earlier life. */
  readonly onPart: (folder: string, name: string) => Promise<void>;
}

/** Finds what was changed on the disk, and puts it into the index. One scan at a time. */
export class FolderScan {
  readonly #parts: FolderScanParts;
  #edits: DiskEdit[] = [];
  #unsettled = new Set<string>();
  #signal: AbortSignal | undefined;

  constructor(parts: FolderScanParts) {
    this.#parts = parts;
  }

  /**
   * Looks at what is at `paths` and below; `""` is the whole folder. Fails when `signal` aborts.
   *
   * @returns the paths that were still being written to.
   */
  async scan(paths: Iterable<string>, signal: AbortSignal): Promise<string[]> {
    this.#signal = signal;
    this.#unsettled = new Set();
    const gone: string[] = [];
    for (const path of paths) {
      const seen = new Set<string>();
      if (await this.#visit(path, seen)) gone.push(...this.#unseen(path, seen));
    }
    for (const path of gone) await this.#checkGone(path);
    await this.#keepEdits(true);
    return [...this.#unsettled];
  }

  /** False when what is below could not be looked at, so that nothing there counts as gone. */
  async #visit(path: string, seen: Set<string>): Promise<boolean> {
    const { disk } = this.#parts;
    try {
      if (path !== "") {
        const stat = await disk.stat(path);
        if (stat) await this.#checkFile(path, stat, seen);
        return true;
      }
    } catch (error) {
      if (!(error instanceof Obstacle)) throw error;
      if (!await disk.isFolder(path).catch(() => false)) return false;
    }
    await this.#walk(path, seen);
    return true;
  }

  async #walk(folder: string, seen: Set<string>): Promise<void> {
    const { disk, state, onSkipped, onPart } = this.#parts;
    const entries = await disk.list(folder).catch((error) => {
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      onSkipped(folder, "this user may not read it");
    });
    if (!entries) {
      for (const known of this.#below(folder)) seen.add(known);
      return;
    }
    for (const { name, isDirectory, isFile, isSymlink } of entries) {
      this.#signal?.throwIfAborted();
      const path = folder === "" ? name : `${folder}/${name}`;
      if (name.toLowerCase().startsWith(OWN_PREFIX)) {
        if (isFile && isPartName(name)) await onPart(folder, name);
      } else if (isDirectory) {
        if (!state.isLeftOut(`${path}/`)) await this.#walk(path, seen);
      } else if (isSymlink) {
        onSkipped(path, "symbolic links are not synced");
        for (const known of this.#below(path)) seen.add(known);
      } else if (isFile) {
        const stat = await disk.stat(path).catch(() => undefined);
        if (stat) await this.#checkFile(path, stat, seen);
      }
    }
  }

  async #checkFile(path: string, stat: FileStat, seen: Set<string>): Promise<void> {
    const { state, onSkipped, host } = this.#parts;
    const fault = pathFault(path) ??
      (stat.size > MAX_FILE_SIZE ? "it is larger than 8 GB" : undefined);
    if (state.isLeftOut(path)) return;
    seen.add(path);
    if (fault !== undefined) return onSkipped(path, fault);
    const local = state.files.get(path);
    if (local && sameStat(local.stat, stat)) return;
    // Before it is read: the whole of what does not fit would be read at each look.
    if (!state.index.hasRoomFor(path)) return;
    const age = host.now() - stat.modified;
    if (age >= 0 && age < SETTLED_AFTER_MS) return void this.#unsettled.add(path);
    const content = state.beingWritten.has(path) ? undefined : await this.#read(path, stat);
    const isOther = state.beingWritten.has(path) || state.files.get(path) !== local;
    if (!content || isOther) return void this.#unsettled.add(path);
    await this.#compare(path, { content, stat, version: new Map() }, local);
  }

  async #compare(path: string, file: LocalFile, local: LocalFile | undefined): Promise<void> {
    const { state } = this.#parts;
    const { content, stat } = file;
    const known = state.index.get(path);
    if (local && sameContent(local.content, content)) {
      return await state.placed(path, { ...local, stat });
    }
    if (known && sameContent(known.content, content)) {
      return await state.placed(path, { ...file, version: known.version });
    }
    const modified = Math.max(0, Math.trunc(stat.modified));
    this.#edits.push({ path, content, modified, base: local?.version, stat });
    if (this.#edits.length >= EDITS_PER_BATCH) await this.#keepEdits(false);
  }

  async #read(path: string, stat: FileStat): Promise<FileContent | undefined> {
    const { disk, onList, onSkipped, state } = this.#parts;
    using file = await disk.open(path).catch((error) => {
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      onSkipped(path, "this user may not read it");
      return undefined;
    });
    const hashed = file && await hashFile(file, stat.size);
    if (!hashed || !sameStat(await disk.stat(path), stat)) return undefined;
    const { hash, list } = hashed;
    // Where files have no such mode, what another device said of it stays.
    const executable = Deno.build.os === "windows"
      ? state.files.get(path)?.content.executable ?? false
      : stat.executable;
    const content = { hash, size: stat.size, executable };
    if (pieceCount(stat.size) <= MAX_INLINE_PIECES) return { ...content, list };
    onList(hash, list);
    return content;
  }

  async #checkGone(path: string): Promise<void> {
    const { state, host } = this.#parts;
    const local = state.files.get(path);
    if (!local) return;
    if (state.isLeftOut(path)) return await state.placed(path, undefined);
    if (!await this.#isGone(path) || state.files.get(path) !== local) return;
    const known = state.index.get(path);
    if (known?.content === null) return await state.placed(path, undefined);
    const edit = { path, content: null, modified: host.now(), stat: undefined };
    this.#edits.push({ ...edit, base: local.version });
  }

  /** A file behind a symbolic link is out of reach, and not gone. */
  async #isGone(path: string): Promise<boolean> {
    const { disk } = this.#parts;
    try {
      return await disk.stat(path) === undefined;
    } catch (error) {
      if (!(error instanceof Obstacle)) throw error;
      return await disk.isFolder(path).catch(() => false);
    }
  }

  async #keepEdits(isLast: boolean): Promise<void> {
    const { state, disk } = this.#parts;
    // A file where a folder was, or the other way round: first what was there must have gone.
    const mayWait = (path: string) =>
      state.index.isFolder(path) || foldersOf(path).some((each) => state.index.get(each)?.content);
    const edits = this.#edits.filter(({ path }) => isLast || !mayWait(path));
    this.#edits = this.#edits.filter((edit) => !edits.includes(edit));
    edits.sort((a, b) => Number(a.content !== null) - Number(b.content !== null));
    // Hashing takes a while: what was received meanwhile stays, and is compared at the next look.
    const isCurrent = ({ path, base }: DiskEdit) => state.files.get(path)?.version === base;
    for (const edit of edits) if (!isCurrent(edit)) this.#unsettled.add(edit.path);
    // A disk that was taken away during the look has deleted nothing.
    if (edits.some(({ content }) => content === null)) await disk.requireThere();
    await state.edit(edits.filter(isCurrent));
  }

  *#below(path: string): Generator<string> {
    const { files } = this.#parts.state;
    if (path === "") yield* files.keys();
    else {for (const each of files.keys()) {
        if (each === path || each.startsWith(`${path}/`)) yield each;
      }}
  }

  #unseen(path: string, seen: ReadonlySet<string>): string[] {
    return [...this.#below(path)].filter((each) => !seen.has(each));
  }
}
