import { toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { type FileRecord, sameContent } from "../../protocol/folder/file_record.ts";
import {
  FolderIndex,
  type FolderLimits,
  type IndexChange,
  type LocalEdit,
} from "../../protocol/folder/folder_index.ts";
import { caseKey } from "../../protocol/folder/folder_path.ts";
import type { FileContent } from "../../protocol/folder/pieces.ts";
import type { VersionVector } from "../../protocol/folder/version_vector.ts";
import { GroupCommit, type KvOperation } from "../group_commit.ts";
import { inCommits } from "../kv_commits.ts";
import type { FileStat } from "./folder_disk.ts";

const FORMAT = 1;
const MAX_REPLACED = 5_000;

/** A file as it lies on this device's disk. */
export interface LocalFile {
  readonly content: FileContent;
  readonly version: VersionVector;
  readonly stat: FileStat;
}

/** What is kept of a device that shares the folder, or was asked whether it does. */
export interface KnownMember {
  /** It has said that it shares the folder. */
  readonly joined: boolean;
  /** The last change that it was told of. */
  readonly told: number;
}

/** Whose folder it is, and which. */
export interface FolderStateOptions {
  readonly self: PeerId;
  /** What this device calls itself; see `deviceLabel`. */
  readonly label: string;
  /** See `readMark`. */
  readonly mark: string;
  readonly host: Host;
  /** By default those of every device. */
  readonly limits?: FolderLimits | undefined;
}

/** An edit and the file that it leaves on the disk. */
export interface DiskEdit extends LocalEdit {
  readonly stat: FileStat | undefined;
}

/**
 * What a device keeps about its folder, in a store of its own outside that folder: the index, what
 * lies on the disk, and how far the others have been told.
 */
export class FolderState {
  readonly index: FolderIndex;
  /** Paths whose file is not what the index says. */
  readonly pending = new Set<string>();
  /** Those of them at which something is in the way that only the user can take away. */
  readonly hindered = new Set<string>();
  /** Paths whose file is just being replaced: what the disk shows there means nothing. */
  readonly beingWritten = new Set<string>();
  /** What the latest edits of this device took from a path: others may still have it there. */
  readonly replaced = new Map<string, FileContent>();
  /** Paths that this device leaves out. */
  isLeftOut: (path: string) => boolean = () => false;
  readonly #kv: Deno.Kv;
  readonly #commit: GroupCommit;
  readonly #host: Host;
  readonly #local = new Map<string, LocalFile>();
  readonly #places = new Map<string, Set<string>>();
  /** Files by what is left of their paths on a disk that folds case. */
  readonly #folded = new Map<string, Set<string>>();
  readonly #members = new Map<string, KnownMember>();

  private constructor(kv: Deno.Kv, index: FolderIndex, host: Host) {
    this.#kv = kv;
    this.#commit = new GroupCommit(kv);
    this.index = index;
    this.#host = host;
  }

  /**
   * Opens the store at `path` for the folder with this mark.
   *
   * @throws {CairnError} `data-folder-unusable` when it is that of another folder.
   */
  static async open(
    path: string,
    { self, label, mark, host, limits }: FolderStateOptions,
  ): Promise<FolderState> {
    const kv = await Deno.openKv(path);
    try {
      const index = new FolderIndex(toHex(self.bytes), label, limits);
      const state = new FolderState(kv, index, host);
      await state.#load(mark);
      return state;
    } catch (error) {
      kv.close();
      throw error;
    }
  }

  /** How many files are to be as the index says, and can be. */
  get missing(): number {
    return this.pending.size - this.hindered.size;
  }

  get files(): ReadonlyMap<string, LocalFile> {
    return this.#local;
  }

  get members(): ReadonlyMap<string, KnownMember> {
    return this.#members;
  }

  /** Paths of files on this disk that have a content. */
  placesOf(hash: string): readonly string[] {
    return [...this.#places.get(hash) ?? []];
  }

  /** Another file on this disk whose path differs in case alone. */
  twinOf(path: string): string | undefined {
    return [...this.#folded.get(caseKey(path)) ?? []].find((each) => each !== path);
  }

  /** Others tell of files. @returns what is another in consequence. */
  async merge(records: readonly FileRecord[]): Promise<IndexChange[]> {
    const now = this.#host.now();
    const changes = records.flatMap((record) => this.index.merge(record, now));
    await this.#keep(changes, new Map());
    return changes;
  }

  /** The disk has changed. @returns what is another in consequence. */
  async edit(edits: readonly DiskEdit[]): Promise<IndexChange[]> {
    const now = this.#host.now();
    const files = new Map<string, LocalFile | undefined>();
    const changes: IndexChange[] = [];
    for (const edit of edits) {
      const edited = this.index.edit(edit, now);
      // Not in the index, not on the list of what is here: it is found again when there is room.
      if (!edited) continue;
      const { version } = edited;
      changes.push(...edited.changes);
      const { content, stat } = edit;
      this.#noteReplaced(edit.path);
      files.set(edit.path, content && stat ? { content, version, stat } : undefined);
    }
    await this.#keep(changes, files);
    return changes;
  }

  /** The disk has what the index knew already, or what it was made to have. */
  async placed(path: string, file: LocalFile | undefined): Promise<void> {
    await this.#keep([], new Map([[path, file]]));
  }

  async setMember(peer: string, member: KnownMember): Promise<void> {
    this.#members.set(peer, member);
    await this.#commit.commit([{ type: "set", key: ["member", peer], value: member }]);
  }

  /** Forgets deletions of which everybody has heard, once a day; cheap at any other time. */
  async forgetDeletions(): Promise<void> {
    const isFree = (path: string) => !this.#local.has(path) && !this.pending.has(path);
    const paths = this.index.forgetDeletions(this.#host.now(), isFree);
    const deletions = paths.map((
      path,
    ): KvOperation[] => [{ type: "delete", key: ["known", path] }]);
    for (const group of inCommits(deletions)) await this.#commit.commit(group);
  }

  /** The rules of what is left out are others than before. */
  reviewPending(): void {
    this.pending.clear();
    for (const { path } of this.index.records()) this.#review(path);
  }

  async close(): Promise<void> {
    await this.#commit.close();
    this.#kv.close();
  }

  #noteReplaced(path: string): void {
    const before = this.#local.get(path)?.content;
    if (!before) return;
    this.replaced.delete(path);
    this.replaced.set(path, before);
    const [oldest] = this.replaced.keys();
    if (this.replaced.size > MAX_REPLACED && oldest !== undefined) this.replaced.delete(oldest);
  }

  async #load(mark: string): Promise<void> {
    const kv = this.#kv;
    const meta = (await kv.get<{ format: number; mark: string }>(["meta"])).value;
    if (meta && (meta.mark !== mark || meta.format !== FORMAT)) {
      throw new CairnError(
        "data-folder-unusable",
        "This folder is not the one that was synced under this name before; " +
          "name that one, or choose another name with --name",
      );
    }
    if (!meta) {
      const value = { format: FORMAT, mark };
      await this.#commit.commit([{ type: "set", key: ["meta"], value }]);
    }
    for await (const { value } of kv.list<IndexChange>({ prefix: ["known"] })) {
      this.index.restore(value);
    }
    for await (const { key, value } of kv.list<LocalFile>({ prefix: ["local"] })) {
      this.#setLocal(String(key[1]), value);
    }
    for await (const { key, value } of kv.list<KnownMember>({ prefix: ["member"] })) {
      this.#members.set(String(key[1]), value);
      this.index.countFrom(value.told);
    }
    this.reviewPending();
    await this.forgetDeletions();
  }

  async #keep(
    changes: readonly IndexChange[],
    files: ReadonlyMap<string, LocalFile | undefined>,
  ): Promise<void> {
    const operations = new Map<string, KvOperation[]>();
    const add = (path: string, operation: KvOperation) => {
      operations.set(path, [...operations.get(path) ?? [], operation]);
    };
    for (const [path, file] of files) {
      this.#setLocal(path, file);
      const key = ["local", path];
      add(path, file ? { type: "set", key, value: file } : { type: "delete", key });
    }
    for (const change of changes) {
      add(change.record.path, { type: "set", key: ["known", change.record.path], value: change });
    }
    for (const path of operations.keys()) {
      const caughtUp = this.#review(path);
      if (caughtUp) add(path, { type: "set", key: ["local", path], value: caughtUp });
    }
    const commits = [...inCommits(operations.values())].map((group) => this.#commit.commit(group));
    await Promise.all(commits);
  }

  /** Whether a path is pending; a file that has only another version is what the index says. */
  #review(path: string): LocalFile | undefined {
    const known = this.index.get(path);
    const local = this.#local.get(path);
    const isSame = sameContent(known?.content ?? null, local?.content ?? null);
    if (!known || isSame || this.isLeftOut(path)) this.pending.delete(path);
    else this.pending.add(path);
    if (!this.pending.has(path)) this.hindered.delete(path);
    if (!known || !local || !isSame || known.version === local.version) return undefined;
    const caughtUp = { ...local, version: known.version };
    this.#local.set(path, caughtUp);
    return caughtUp;
  }

  #setLocal(path: string, file: LocalFile | undefined): void {
    const before = this.#local.get(path);
    if (before) {
      takeFrom(this.#places, before.content.hash, path);
      takeFrom(this.#folded, caseKey(path), path);
    }
    if (!file) return void this.#local.delete(path);
    this.#local.set(path, file);
    addTo(this.#places, file.content.hash, path);
    addTo(this.#folded, caseKey(path), path);
  }
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set) set.add(value);
  else sets.set(key, new Set([value]));
}

function takeFrom(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
