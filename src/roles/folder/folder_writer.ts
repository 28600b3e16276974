import { getLogger } from "@logtape/logtape";
import type { FileRecord } from "../../protocol/folder/file_record.ts";
import type { Piece } from "../../protocol/folder/folder_messages.ts";
import type { PiecePlan } from "../../protocol/folder/piece_plan.ts";
import { pieceCount, pieceRange } from "../../protocol/folder/pieces.ts";
import type { FolderDisk } from "./folder_disk.ts";
import type { FolderState } from "./folder_state.ts";
import type { LocalContents } from "./local_contents.ts";
import { piecesHere } from "./pieces_here.ts";
import { nameObstacle, obstacleIn } from "./write_obstacle.ts";

const log = getLogger(["cairn", "folder"]);

/** What a writer stands on. */
export interface FolderWriterParts {
  readonly disk: FolderDisk;
  readonly state: FolderState;
  readonly plan: PiecePlan;
  readonly contents: LocalContents;
  /** A file is on the disk as the index has it, or gone. */
  readonly onWritten: (record: FileRecord) => void;
  /** A file cannot be written, and why. */
  readonly onSkipped: (path: string, reason: string) => void;
  /** The file at a path is not what it was: it is to be looked at. */
  readonly onStale: (path: string) => void;
}

/**
 * Makes the disk as the index says: gathers contents in parts, and lets a part take its place once
 * all of it is there and on disk. Nothing that was changed meanwhile is written over. Its methods
 * are called one after the other.
 */
export class FolderWriter {
  readonly #parts: FolderWriterParts;
  /** For which paths a content is fetched; it gathers where the first of them lies. */
  readonly #paths = new Map<string, Set<string>>();
  readonly #hashes = new Map<string, string>();
  /** Parts that are complete, or are being copied, and not in their places yet. */
  readonly #moving = new Set<string>();

  constructor(parts: FolderWriterParts) {
    this.#parts = parts;
  }

  /** Whether the part of this file name is being filled or put in place, or might be soon. */
  isPartInUse(part: string): boolean {
    if (this.#moving.has(part)) return true;
    for (const [hash, [home]] of this.#paths) {
      if (home !== undefined && this.#parts.disk.partOf(home, hash) === part) return true;
    }
    return false;
  }

  /** Brings what is pending among `paths` as far as it gets without asking others. */
  async settle(paths: Iterable<string>, notBefore = 0): Promise<void> {
    const { state } = this.#parts;
    const waiting = [...paths].filter((path) => this.#isStill(path));
    const isDeletion = (path: string) => state.index.get(path)?.content === null;
    // First what is added: a file that was renamed is a copy of the one that goes afterwards.
    const blocked: string[] = [];
    for (const path of waiting.filter((path) => !isDeletion(path))) {
      if (!await this.#fill(path, notBefore)) blocked.push(path);
    }
    for (const path of waiting.filter(isDeletion)) await this.#remove(path);
    // What had to go first, a folder where a file is to be, may have gone.
    for (const path of blocked) {
      if (!await this.#fill(path, notBefore)) this.#parts.onStale(path);
    }
  }

  /** A list of pieces came. */
  async takeList(hash: string, list: Uint8Array): Promise<void> {
    const { plan, contents } = this.#parts;
    if (!plan.takeList(hash, list)) return;
    contents.remember(hash, list);
    const [home = ""] = this.#paths.get(hash) ?? [];
    await this.#resume(hash).catch((error) => this.#giveUp(home, error));
  }

  /** A piece came. @returns whether it was wanted. */
  async takePiece({ hash, index, bytes }: Piece): Promise<boolean> {
    const { plan, disk } = this.#parts;
    const content = plan.content(hash);
    const [home] = this.#paths.get(hash) ?? [];
    const verdict = plan.judge(hash, index, bytes);
    if (verdict === "damaged") log.warn("A piece came that is not what it says to be");
    if (verdict !== "wanted" || !content || home === undefined) return false;
    try {
      using part = await disk.openPart(home, hash);
      await part.write(pieceRange(content.size, index).offset, bytes);
      if (plan.keep(hash, index)) await this.#finish(hash);
    } catch (error) {
      this.#giveUp(home, error);
    }
    return true;
  }

  /** A file could not be written. @throws what is wrong with all of them, as a full disk is. */
  #giveUp(path: string, error: unknown): void {
    const obstacle = obstacleIn(error);
    if (obstacle === undefined) this.#parts.onStale(path);
    else this.#skip(path, obstacle);
    this.#forgo(path);
  }

  #skip(path: string, reason: string): void {
    const { state } = this.#parts;
    if (state.pending.has(path)) state.hindered.add(path);
    this.#parts.onSkipped(path, reason);
  }

  #isStill(path: string): boolean {
    const { state } = this.#parts;
    if (state.pending.has(path)) {
      const hash = state.index.get(path)?.content?.hash;
      if (this.#hashes.get(path) !== hash) this.#forgo(path);
      return true;
    }
    this.#forgo(path);
    return false;
  }

  /** Nothing is fetched for `path` any more. */
  #forgo(path: string): void {
    const hash = this.#hashes.get(path);
    if (hash === undefined) return;
    this.#hashes.delete(path);
    const paths = this.#paths.get(hash);
    const [home] = paths ?? [];
    paths?.delete(path);
    if (path !== home) return;
    this.#parts.disk.removePart(path, hash).catch(() => {});
    if (paths?.size === 0) {
      this.#paths.delete(hash);
      this.#parts.plan.remove(hash);
    } else this.#parts.plan.restart(hash);
  }

  /** False when something is in the way that may go. */
  async #fill(path: string, notBefore: number): Promise<boolean> {
    const { disk, state, plan } = this.#parts;
    const record = state.index.get(path);
    if (!record?.content || !state.pending.has(path)) return true;
    const { content } = record;
    const fault = nameObstacle(path, state.twinOf(path));
    if (fault !== undefined) this.#skip(path, fault);
    if (fault !== undefined) return true;
    try {
      // Nothing is fetched to a place where it cannot be put.
      await disk.stat(path);
      if (state.hindered.has(path)) (await disk.openPart(path, content.hash))[Symbol.dispose]();
      const local = state.files.get(path);
      if (local?.content.hash === content.hash) return await this.#setMode(path, record);
      if (state.placesOf(content.hash).length > 0 && await this.#copy(path, record)) return true;
      if (!plan.has(content.hash)) plan.add(content, notBefore);
      const isFirst = !this.#paths.has(content.hash);
      this.#paths.set(content.hash, (this.#paths.get(content.hash) ?? new Set()).add(path));
      this.#hashes.set(path, content.hash);
      state.hindered.delete(path);
      if (isFirst && plan.list(content.hash)) await this.#resume(content.hash);
      return true;
    } catch (error) {
      this.#giveUp(path, error);
      return false;
    }
  }

  async #resume(hash: string): Promise<void> {
    const { plan, state } = this.#parts;
    const [content, list, [home]] = [
      plan.content(hash),
      plan.list(hash),
      this.#paths.get(hash) ?? [],
    ];
    if (!content || !list || home === undefined) return;
    const before = state.files.get(home)?.content;
    let isComplete = pieceCount(content.size) === 0;
    for await (const index of piecesHere(this.#parts.disk, home, { content, list, before })) {
      isComplete = plan.keep(hash, index);
    }
    if (isComplete) await this.#finish(hash);
  }

  async #finish(hash: string): Promise<void> {
    const { plan, disk, contents } = this.#parts;
    const content = plan.content(hash);
    const [home, ...others] = this.#paths.get(hash) ?? [];
    if (!content || home === undefined) return;
    await this.#moved(home, hash, async () => {
      using part = await disk.openPart(home, hash);
      if (!await part.complete(content)) return plan.restart(hash);
      const list = plan.list(hash);
      if (list && !content.list) contents.remember(hash, list);
      plan.remove(hash);
      this.#paths.delete(hash);
      for (const path of [home, ...others]) this.#hashes.delete(path);
      const record = this.#wanted(home, hash);
      if (record) await this.#place(home, record);
      for (const path of others) if (this.#wanted(path, hash)) await this.#fill(path, 0);
      await disk.removePart(home, hash);
    });
  }

  /** What is to be at `path`, if that is this content. */
  #wanted(path: string, hash: string): FileRecord | undefined {
    const record = this.#parts.state.index.get(path);
    return record?.content?.hash === hash && this.#parts.state.pending.has(path)
      ? record
      : undefined;
  }

  /** Runs `work` on the part of a content for `path`, which nobody clears away meanwhile. */
  async #moved<T>(path: string, hash: string, work: () => Promise<T>): Promise<T> {
    const part = this.#parts.disk.partOf(path, hash);
    this.#moving.add(part);
    try {
      return await work();
    } finally {
      this.#moving.delete(part);
    }
  }

  /** Copies a content that is somewhere in the folder; false when it turns out not to be. */
  async #copy(path: string, record: FileRecord): Promise<boolean> {
    const { disk, state } = this.#parts;
    const { content } = record;
    const [source] = content ? state.placesOf(content.hash) : [];
    if (!content || source === undefined) return false;
    return await this.#moved(path, content.hash, async () => {
      using from = await disk.open(source).catch(() => undefined);
      using part = await disk.openPart(path, content.hash);
      if (from) await part.copy(from, content.size);
      const isWhole = await part.complete(content);
      if (isWhole) await this.#place(path, record);
      else this.#parts.onStale(source);
      await disk.removePart(path, content.hash);
      return isWhole;
    });
  }

  async #place(path: string, record: FileRecord): Promise<void> {
    const { disk, state, onStale } = this.#parts;
    const { content, modified, version } = record;
    const before = state.files.get(path);
    if (!content) return;
    await this.#saveForOthers(path);
    const { executable } = content;
    state.beingWritten.add(path);
    try {
      const wanted = { modified, executable, before: before?.stat };
      const stat = await disk.place(path, content.hash, wanted);
      if (!stat) return onStale(path);
      await state.placed(path, { content, version, stat });
    } finally {
      state.beingWritten.delete(path);
    }
    this.#parts.onWritten(record);
  }

  async #setMode(path: string, record: FileRecord): Promise<boolean> {
    const { disk, state, onStale } = this.#parts;
    const { content, version } = record;
    if (!content) return true;
    const stat = await disk.setMode(path, content.executable);
    if (stat) {
      await state.placed(path, { content, version, stat });
      this.#parts.onWritten(record);
    } else onStale(path);
    return true;
  }

  async #remove(path: string): Promise<void> {
    const { disk, state, onStale } = this.#parts;
    const record = state.index.get(path);
    const local = state.files.get(path);
    if (record?.content !== null || !local) return;
    try {
      await this.#saveForOthers(path);
      if (!await disk.remove(path, local.stat)) return onStale(path);
    } catch (error) {
      return this.#giveUp(path, error);
    }
    await state.placed(path, undefined);
    this.#parts.onWritten(record);
  }

  /** What is about to go from `path` may be what another path waits for. */
  async #saveForOthers(path: string): Promise<void> {
    const { state } = this.#parts;
    const hash = state.files.get(path)?.content.hash;
    if (hash === undefined || state.placesOf(hash).length > 1) return;
    for (const other of [...state.pending]) {
      const record = state.index.get(other);
      if (other === path || record?.content?.hash !== hash) continue;
      await this.#copy(other, record).catch((error) => this.#giveUp(other, error));
    }
  }
}
