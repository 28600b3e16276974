import { join } from "node:path";
import type { Host } from "../../base/host.ts";
import type { IndexChange } from "../../protocol/folder/folder_index.ts";
import { IGNORE_FILE } from "../../protocol/folder/folder_path.ts";
import type { FolderDisk } from "./folder_disk.ts";
import { readIgnoreRules } from "./folder_mark.ts";
import { FolderScan } from "./folder_scan.ts";
import type { FolderState } from "./folder_state.ts";
import { FolderWatch } from "./folder_watch.ts";

/** Changes are gathered for so long before a look. */
const GATHER_MS = 250;
/** What was being written to is looked at again after so long. */
const AGAIN_AFTER_MS = 400;

/** What the looks at a folder stand on. */
export interface FolderLooksParts {
  readonly disk: FolderDisk;
  readonly state: FolderState;
  readonly host: Host;
  /** Milliseconds between looks at the whole folder. */
  readonly rescanEvery: number;
  readonly onList: (hash: string, list: Uint8Array) => void;
  readonly onSkipped: (path: string, reason: string) => void;
  readonly isPartInUse: (part: string) => boolean;
  /** After a look: what has changed in the index; files that were in the way may not be any more. */
  readonly onEdits: (changes: readonly IndexChange[]) => Promise<void>;
}

/** Decides when to look at what in the folder, and does it. */
export class FolderLooks {
  readonly #parts: FolderLooksParts;
  readonly #watch: FolderWatch;
  readonly #scan: FolderScan;
  readonly #closing = new AbortController();
  #looking: Promise<void> | undefined;
  #hasLooked = false;
  #nextLook = 0;
  #nextWhole = 0;

  constructor(parts: FolderLooksParts) {
    this.#parts = parts;
    this.#watch = new FolderWatch(parts.disk.root);
    this.#scan = new FolderScan({ ...parts, onPart: (folder, name) => this.#onPart(folder, name) });
  }

  /** Nothing is known to be changed and not looked at. */
  get idle(): boolean {
    return this.#looking === undefined && this.#watch.isEmpty;
  }

  /** Something at `path` is to be looked at. */
  add(path: string): void {
    this.#watch.add(path);
  }

  /** Looks at everything. @throws {CairnError} `data-folder-unusable`. */
  async start(): Promise<void> {
    this.#watch.start();
    this.add("");
    await this.#look();
  }

  /** Looks at what has changed, if it is time; `now` in monotonic milliseconds. */
  async turn(now: number): Promise<void> {
    if (now >= this.#nextWhole) this.add("");
    if (this.#watch.isEmpty || now < this.#nextLook || this.#looking) return;
    await this.#look();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#watch.close();
    await this.#looking?.catch(() => {}); // It was stopped.
  }

  #look(): Promise<void> {
    this.#looking ??= this.#lookNow().finally(() => this.#looking = undefined);
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const { disk, state, host, rescanEvery, onEdits } = this.#parts;
    await disk.requireThere();
    const paths = this.#watch.take();
    const start = host.monotonic();
    if (paths.includes("")) this.#nextWhole = start + rescanEvery;
    if (paths.includes("") || paths.includes(IGNORE_FILE)) await this.#readRules();
    const before = state.index.sequence;
    const unsettled = await this.#scan.scan(paths, this.#closing.signal);
    for (const path of unsettled) this.#watch.add(path);
    const end = host.monotonic();
    // A large folder that changes all the time is not to keep this device busy all the time.
    const rest = Math.max(unsettled.length > 0 ? AGAIN_AFTER_MS : GATHER_MS, 2 * (end - start));
    this.#nextLook = end + rest;
    if (paths.includes("")) this.#nextWhole = Math.max(this.#nextWhole, end + 10 * (end - start));
    this.#hasLooked = true;
    const changes = state.index.after(before, Infinity);
    if (changes.length > 0 || state.pending.size > 0) await onEdits(changes);
  }

  async #readRules(): Promise<void> {
    const { disk, state } = this.#parts;
    const rules = await readIgnoreRules(disk.root);
    state.isLeftOut = (path) => rules.ignores(path);
    state.reviewPending();
  }

  /** What is left of contents that are not wanted any more. */
  async #onPart(folder: string, name: string): Promise<void> {
    const { disk, isPartInUse } = this.#parts;
    // At the first look nobody has said yet what is still wanted.
    const part = join(disk.root, folder, name);
    if (this.#hasLooked && !isPartInUse(part)) await Deno.remove(part).catch(() => {});
  }
}
