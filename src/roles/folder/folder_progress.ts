import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FileRecord } from "../../protocol/folder/file_record.ts";
import type { IndexChange } from "../../protocol/folder/folder_index.ts";
import type { PiecePlan } from "../../protocol/folder/piece_plan.ts";
import type { FolderEvent } from "./folder_events.ts";
import type { FolderMembers } from "./folder_members.ts";
import type { FolderState } from "./folder_state.ts";

const FETCHING_EVERY_MS = 2_000;
/** Notes of what is skipped that are remembered, so that each is told once. */
const MAX_SKIPPED = 10_000;

/** What progress is read from, and told to. */
export interface FolderProgressParts {
  readonly state: FolderState;
  readonly plan: PiecePlan;
  readonly members: FolderMembers;
  readonly onEvent: (event: FolderEvent) => void;
}

/** Tells how the sync of a folder is getting on. */
export class FolderProgress {
  readonly #parts: FolderProgressParts;
  readonly #skipped = new Map<string, string>();
  #shownAt = 0;
  #lastSummary = "";
  #fullAt = 0;
  #leftOut = 0;

  constructor(parts: FolderProgressParts) {
    this.#parts = parts;
  }

  /** Changes of the index, whoever made them. */
  changed(changes: readonly IndexChange[]): void {
    for (const { record: { path, content } } of changes) {
      if (content && path.includes(" (conflict ")) {
        this.#parts.onEvent({ event: "conflict", path });
      }
    }
  }

  /** Changes that were found on this device's disk. */
  edited(changes: readonly IndexChange[]): void {
    const { state, onEvent } = this.#parts;
    for (const { record: { path, content } } of changes) {
      if (state.pending.has(path)) continue;
      onEvent({ event: "changed", path, deleted: content === null });
    }
  }

  written({ path, content }: FileRecord): void {
    this.#parts.onEvent(
      content ? { event: "received", path, size: content.size } : { event: "deleted", path },
    );
  }

  skipped(path: string, reason: string): void {
    if (this.#skipped.get(path) === reason || this.#skipped.size >= MAX_SKIPPED) return;
    this.#skipped.set(path, reason);
    this.#parts.onEvent({ event: "skipped", path, reason });
  }

  unsound(peer: PeerId, rows: number): void {
    const name = this.#parts.members.nameOf(peer);
    this.#parts.onEvent({ event: "unsound", peer, name, rows });
  }

  /** Tells what is missing, or who is in step; `now` in monotonic milliseconds. */
  show(now: number, isQuiet: boolean): void {
    const { state, plan, members, onEvent } = this.#parts;
    this.#showFull(now);
    if (state.missing > 0) {
      if (now - this.#shownAt < FETCHING_EVERY_MS) return;
      this.#shownAt = now;
      this.#lastSummary = "";
      const [files, bytes] = [state.missing, plan.missingBytes];
      return onEvent({ event: "fetching", files, bytes });
    }
    if (state.index.leftOut > 0) return;
    const names = members.list().filter((member) => members.isUpToDate(member))
      .map(({ peer }) => members.nameOf(peer)).sort();
    const summary = `${names.join()} ${state.index.digest.bytes.toHex()}`;
    if (!isQuiet || names.length === 0 || summary === this.#lastSummary) return;
    this.#lastSummary = summary;
    onEvent({ event: "up-to-date", files: state.files.size, names });
  }

  #showFull(now: number): void {
    const files = this.#parts.state.index.leftOut;
    if (files === this.#leftOut || now - this.#fullAt < FETCHING_EVERY_MS) return;
    [this.#leftOut, this.#fullAt] = [files, now];
    if (files > 0) this.#parts.onEvent({ event: "full", files });
  }
}
