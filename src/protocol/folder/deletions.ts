import type { FileRecord } from "./file_record.ts";
import { latestChange } from "./version_vector.ts";

const DAY_MS = 86_400_000;
/** A device that was away for less never brings back what others deleted meanwhile. */
export const DELETION_AGE_MS = 90 * DAY_MS;
/** Deletions beyond which the oldest are forgotten early. */
export const MAX_DELETIONS = 50_000;

interface Deletion {
  /** Its own time: the counter of the latest change, the same on every device. */
  readonly counter: number;
  /** When this device learned of it, if that was later. */
  readonly learned: number;
}

/**
 * The deletions of an index, which are kept for those who have not heard of them, and not for ever.
 * By its own time a deletion leaves the digest, on all devices at the same midnight (UTC); it is
 * forgotten when this device has known of it for as long, so that who hears of it late still tells.
 */
export class Deletions {
  readonly #known = new Map<string, Deletion>();
  readonly #uncounted = new Set<string>();
  readonly #max: number;
  /** Older ones are out of the digest. */
  #since = 0;
  /** The youngest that was forgotten because there were too many. */
  #crowdedOut = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** A record takes its place, learned of at `at` (Unix milliseconds). */
  put({ path, content, version }: FileRecord, at: number | undefined): void {
    this.remove(path);
    if (content !== null) return;
    const { counter } = latestChange(version);
    this.#known.set(path, { counter, learned: Math.max(counter, at ?? 0) });
    if (counter < this.#since) this.#uncounted.add(path);
  }

  remove(path: string): void {
    this.#known.delete(path);
    this.#uncounted.delete(path);
  }

  /** Whether the record at `path` is part of the digest. */
  counts(path: string): boolean {
    return !this.#uncounted.has(path);
  }

  /** Whether a record tells of a deletion that nobody needs to hear of any more. */
  isOver({ content, version }: FileRecord): boolean {
    if (content !== null) return false;
    const { counter } = latestChange(version);
    return counter < this.#since || counter <= this.#crowdedOut;
  }

  /** Paths that leave the digest by `now` (Unix milliseconds); `undefined` on the same day. */
  outdated(now: number): string[] | undefined {
    const since = Math.floor(now / DAY_MS) * DAY_MS - DELETION_AGE_MS;
    if (since <= this.#since) return undefined;
    this.#since = since;
    const paths: string[] = [];
    for (const [path, { counter }] of this.#known) {
      if (counter < since && !this.#uncounted.has(path)) paths.push(path);
    }
    for (const path of paths) this.#uncounted.add(path);
    return paths;
  }

  /** Paths to forget, of those that `isFree` lets go: what is old, and what is too much. */
  stale(isFree: (path: string) => boolean): string[] {
    const paths: string[] = [];
    const rest: [path: string, counter: number][] = [];
    for (const [path, { counter, learned }] of this.#known) {
      if (!isFree(path)) continue;
      if (learned < this.#since) paths.push(path);
      else rest.push([path, counter]);
    }
    const surplus = this.#known.size - paths.length - this.#max;
    if (surplus <= 0) return paths;
    rest.sort(([pathA, a], [pathB, b]) => a - b || (pathA < pathB ? -1 : 1));
    for (const [path, counter] of rest.slice(0, surplus)) {
      this.#crowdedOut = counter;
      paths.push(path);
    }
    return paths;
  }

  /** Whether there are too many. */
  get areTooMany(): boolean {
    return this.#known.size > this.#max;
  }
}
