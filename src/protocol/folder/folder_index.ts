import { Deletions, MAX_DELETIONS } from "./deletions.ts";
import { foldersOf } from "./folder_path.ts";
import { FolderDigest } from "./folder_digest.ts";
import {
  compareRank,
  conflictCopy,
  type FileRecord,
  recordDigest,
  sameContent,
} from "./file_record.ts";
import type { FileContent } from "./pieces.ts";
import {
  advanceVersion,
  compareVersions,
  type DeviceId,
  mergeVersions,
  type VersionVector,
} from "./version_vector.ts";

/** Most files of a folder, deleted ones included. */
export const MAX_RECORDS = 200_000;
/** Room beyond it for what conflicts leave: a full index covers nobody's change. */
export const MAX_COPIES = 10_000;
/** Paths that were left out and are remembered, to count each once. */
const MAX_LEFT_OUT = 10_000;

/** A record of the index that is another than before. */
export interface IndexChange {
  readonly record: FileRecord;
  /** Grows with every change that others are to be told of; 0 for what came from another. */
  readonly sequence: number;
  /** When this device learned of a deletion, in Unix milliseconds; absent for files. */
  readonly at?: number;
}

/** Bounds of a {@linkcode FolderIndex}. */
export interface FolderLimits {
  readonly records: number;
  readonly copies: number;
  readonly deletions: number;
}

const LIMITS: FolderLimits = {
  records: MAX_RECORDS,
  copies: MAX_COPIES,
  deletions: MAX_DELETIONS,
};

/** A change of a file on this device. */
export interface LocalEdit {
  readonly path: string;
  readonly content: FileContent | null;
  /** Unix milliseconds. */
  readonly modified: number;
  /** What the device had on its disk before; nothing for a file that was not there. */
  readonly base: VersionVector | undefined;
}

/**
 * What one device knows of a folder: the latest record of every path. All devices that have heard
 * the same records have the same index, in whatever order they came: of changes that did not know
 * of one another the later one keeps the path (by its counter, see {@linkcode compareRank}), and
 * what it would have covered goes on under a name of its own. A deletion covers nothing: a file that
 * somebody changed meanwhile comes back.
 */
export class FolderIndex {
  readonly digest = new FolderDigest();
  readonly #self: DeviceId;
  readonly #label: string;
  readonly #entries = new Map<string, IndexChange>();
  /** How many files lie in a folder, at whatever depth. */
  readonly #filesIn = new Map<string, number>();
  readonly #deletions: Deletions;
  readonly #limits: FolderLimits;
  readonly #leftOut = new Set<string>();
  #sequence = 0;

  /** `label` is what this device calls itself; see `deviceLabel`. */
  constructor(self: DeviceId, label: string, limits: FolderLimits = LIMITS) {
    this.#self = self;
    this.#label = label;
    this.#limits = limits;
    this.#deletions = new Deletions(limits.deletions);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Files for which there was no room, as far as they are counted (to 10,000). */
  get leftOut(): number {
    return this.#leftOut.size;
  }

  /** The sequence of the latest change that others are to be told of. */
  get sequence(): number {
    return this.#sequence;
  }

  get(path: string): FileRecord | undefined {
    return this.#entries.get(path)?.record;
  }

  *records(): Generator<FileRecord> {
    for (const { record } of this.#entries.values()) yield record;
  }

  /** Whether this folder has files in it. */
  isFolder(path: string): boolean {
    return this.#filesIn.has(path);
  }

  /** Changes after `sequence` that others are to be told of, in order; at most `max`. */
  after(sequence: number, max: number): IndexChange[] {
    if (sequence >= this.#sequence) return [];
    const changes = [...this.#entries.values()].filter((change) => change.sequence > sequence);
    return changes.sort((a, b) => a.sequence - b.sequence).slice(0, max);
  }

  /** Takes back what {@linkcode edit} and {@linkcode merge} gave in an earlier life. */
  restore(change: IndexChange): void {
    this.#put(change);
    this.#sequence = Math.max(this.#sequence, change.sequence);
  }

  /** Counts on after `sequence`, of which others were told: its record may be forgotten since. */
  countFrom(sequence: number): void {
    this.#sequence = Math.max(this.#sequence, sequence);
  }

  /** Whether the index takes a file at `path`; one that it does not take is counted. */
  hasRoomFor(path: string): boolean {
    if (this.#entries.has(path) || this.size < this.#limits.records) return true;
    if (this.#leftOut.size < MAX_LEFT_OUT) this.#leftOut.add(path);
    return false;
  }

  /**
   * Forgets deletions that are older than `DELETION_AGE_MS` at `now` (Unix milliseconds), or too
   * many, where `isFree` lets them go. @returns their paths.
   */
  forgetDeletions(now: number, isFree: (path: string) => boolean): string[] {
    const outdated = this.#deletions.outdated(now);
    if (!outdated && !this.#deletions.areTooMany) return [];
    for (const path of outdated ?? []) {
      const record = this.get(path);
      if (record) this.digest.toggle(path, recordDigest(record));
    }
    const paths = this.#deletions.stale(isFree);
    for (const path of paths) this.#forget(path);
    if (this.size < this.#limits.records) this.#leftOut.clear();
    return paths;
  }

  /**
   * A file of this device was changed at `now`.
   *
   * @returns the version of what the device has on its disk, and all that is another in consequence;
   * `undefined` when the index is full.
   */
  edit(
    { path, content, modified, base }: LocalEdit,
    now: number,
  ): { version: VersionVector; changes: IndexChange[] } | undefined {
    const past = this.get(path)?.version.get(this.#self) ?? 0;
    const version = advanceVersion(base ?? new Map(), this.#self, now, past);
    const record = { path, content, modified, device: this.#label, version };
    if (!this.#takes(record)) return undefined;
    return { version, changes: this.#take(record, now, undefined) };
  }

  /**
   * Another device tells of a file. @returns all that is another in consequence; nothing when the
   * index is full.
   */
  merge(record: FileRecord, now: number): IndexChange[] {
    const isOver = !this.#entries.has(record.path) && this.#deletions.isOver(record);
    return isOver || !this.#takes(record) ? [] : this.#take(record, now, record);
  }

  /** Whether there is room for a record, and for the copy that it may leave. */
  #takes(record: FileRecord): boolean {
    const { path, content, version } = record;
    const { records, copies } = this.#limits;
    const known = this.get(path);
    if (!known || this.size < records + copies) return this.hasRoomFor(path);
    const isBeside = compareVersions(known.version, version) === "concurrent";
    return !isBeside && (content === null || known.content !== null);
  }

  #take(first: FileRecord, now: number, told: FileRecord | undefined): IndexChange[] {
    const queue = [first];
    const changed = new Map<string, IndexChange>();
    for (let record = queue.pop(); record !== undefined; record = queue.pop()) {
      const known = this.get(record.path);
      const result = known ? this.#join(known, record, queue, now) : record;
      if (result === known) continue;
      const sequence = result === told ? 0 : ++this.#sequence;
      const change = { record: result, sequence, ...(result.content === null && { at: now }) };
      this.#put(change);
      changed.set(result.path, change);
      if (result.content) queue.push(...this.#clashing(result, now));
    }
    return [...changed.values()];
  }

  /** What two records of one path come to; what the winner would cover goes to `queue`. */
  #join(known: FileRecord, other: FileRecord, queue: FileRecord[], now: number): FileRecord {
    const order = compareVersions(known.version, other.version);
    const isSame = sameContent(known.content, other.content);
    if (order === "newer" || (order === "equal" && isSame)) return known;
    if (order === "older") return other;
    const [winner, loser] = compareRank(known, other) > 0 ? [known, other] : [other, known];
    const version = mergeVersions(known.version, other.version);
    if (isSame || loser.content === null) return { ...winner, version };
    if (winner.content !== null) {
      queue.push(conflictCopy(loser));
      return { ...winner, version };
    }
    return { ...loser, version: advanceVersion(version, this.#self, now) };
  }

  /** A file cannot be where others have a folder: it goes on under a name of its own. */
  #clashing(record: FileRecord, now: number): FileRecord[] {
    const files = this.isFolder(record.path)
      ? [record]
      : foldersOf(record.path).flatMap((folder) => this.get(folder) ?? []);
    return files.filter(({ content }) => content !== null).flatMap((file) => [
      conflictCopy(file),
      { ...file, content: null, version: advanceVersion(file.version, this.#self, now) },
    ]);
  }

  #forget(path: string): void {
    const record = this.get(path);
    if (record && this.#deletions.counts(path)) this.digest.toggle(path, recordDigest(record));
    this.#deletions.remove(path);
    this.#entries.delete(path);
  }

  #put(change: IndexChange): void {
    const { record, at } = change;
    const { path } = record;
    const before = this.get(path);
    if (before && this.#deletions.counts(path)) this.digest.toggle(path, recordDigest(before));
    this.#deletions.put(record, at);
    if (this.#deletions.counts(path)) this.digest.toggle(path, recordDigest(record));
    this.#entries.set(path, change);
    this.#leftOut.delete(path);
    const more = (record.content ? 1 : 0) - (before?.content ? 1 : 0);
    for (const folder of more === 0 ? [] : foldersOf(record.path)) {
      const files = (this.#filesIn.get(folder) ?? 0) + more;
      if (files > 0) this.#filesIn.set(folder, files);
      else this.#filesIn.delete(folder);
    }
  }
}
