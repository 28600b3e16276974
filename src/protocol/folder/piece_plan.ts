import {
  type FileContent,
  isListOf,
  isPiece,
  MAX_INLINE_PIECES,
  pieceCount,
  pieceLength,
  pieceRange,
} from "./pieces.ts";
import {
  MAX_CONTENTS_PER_MESSAGE,
  MAX_PIECES_PER_REQUEST,
  type PieceRequest,
} from "./folder_messages.ts";

/** Contents that are fetched at a time; the others wait for their turn. */
const MAX_OPEN = 256;

interface Wanted {
  readonly content: FileContent;
  list: Uint8Array | undefined;
  /** A byte for each piece: 1 when it is here. */
  readonly here: Uint8Array;
  missing: number;
  /** Who was asked for which pieces; the list counts as piece -1. */
  readonly asked: Map<number, string>;
  /** Everything before it is here or asked for. */
  next: number;
  /** Sources that have said that they do not have it. */
  readonly lackedBy: Set<string>;
  /** Not asked for before: it is on its way unasked. */
  notBefore: number;
}

const LIST = -1;

/**
 * Which pieces a device lacks, whom it has asked for which, and what is to be asked next. What is
 * asked of one source and has not come is bounded, so that no source sends more than there is room
 * for. Sources are named by any text; times are in milliseconds of any clock.
 */
export class PiecePlan {
  readonly #wanted = new Map<string, Wanted>();
  /** Bytes under way from each source. */
  readonly #underWay = new Map<string, number>();

  /** Contents that are not complete. */
  get size(): number {
    return this.#wanted.size;
  }

  has(hash: string): boolean {
    return this.#wanted.has(hash);
  }

  content(hash: string): FileContent | undefined {
    return this.#wanted.get(hash)?.content;
  }

  /** A content is wanted. Nobody is asked for it before `notBefore`. */
  add(content: FileContent, notBefore = 0): void {
    if (this.#wanted.has(content.hash)) return;
    const count = pieceCount(content.size);
    this.#wanted.set(content.hash, {
      content,
      list: content.list ?? (count === 0 ? new Uint8Array(0) : undefined),
      here: new Uint8Array(count),
      missing: count,
      asked: new Map(),
      next: 0,
      lackedBy: new Set(),
      notBefore,
    });
  }

  /** It is not wanted any more. */
  remove(hash: string): void {
    const wanted = this.#wanted.get(hash);
    if (!wanted) return;
    for (const piece of [...wanted.asked.keys()]) this.#settle(wanted, piece);
    this.#wanted.delete(hash);
  }

  /** The list of pieces of a wanted content, once it is known. */
  list(hash: string): Uint8Array | undefined {
    return this.#wanted.get(hash)?.list;
  }

  /** Takes a list that came. @returns whether it was wanted and is the right one. */
  takeList(hash: string, list: Uint8Array): boolean {
    const wanted = this.#wanted.get(hash);
    if (!wanted) return false;
    this.#settle(wanted, LIST);
    if (wanted.list || !isListOf(list, wanted.content)) return false;
    wanted.list = list;
    return true;
  }

  /** What a piece that came is: to be written, of no use, or not what it says to be. */
  judge(hash: string, index: number, bytes: Uint8Array): "wanted" | "unwanted" | "damaged" {
    const wanted = this.#wanted.get(hash);
    if (!wanted || index >= wanted.here.length) return "unwanted";
    this.#settle(wanted, index);
    if (!wanted.list || wanted.here[index] === 1) return "unwanted";
    return isPiece(wanted.list, index, bytes) ? "wanted" : "damaged";
  }

  /** A piece is here, on disk. @returns whether the content is complete with it. */
  keep(hash: string, index: number): boolean {
    const wanted = this.#wanted.get(hash);
    if (!wanted) return false;
    if (wanted.here[index] === 0) {
      wanted.here[index] = 1;
      wanted.missing--;
    }
    return wanted.missing === 0;
  }

  /** What was kept proved to be wrong: all of it is missing again. */
  restart(hash: string): void {
    const wanted = this.#wanted.get(hash);
    if (!wanted) return;
    wanted.here.fill(0);
    wanted.missing = wanted.here.length;
    wanted.next = 0;
  }

  /** Bytes that are still missing. */
  get missingBytes(): number {
    let bytes = 0;
    for (const { content, missing } of this.#wanted.values()) {
      bytes += Math.min(content.size, missing * pieceLength(content.size));
    }
    return bytes;
  }

  /** More of it comes unasked until then. */
  putOff(hash: string, notBefore: number): void {
    const wanted = this.#wanted.get(hash);
    if (wanted && wanted.notBefore > 0) wanted.notBefore = Math.max(wanted.notBefore, notBefore);
  }

  /**
   * What to ask `source` for at `now`, with at most `window` bytes under way from it, of contents
   * that it may be asked for.
   */
  ask(
    source: string,
    window: number,
    now: number,
    mayAsk: (hash: string) => boolean = () => true,
  ): PieceRequest[] {
    const requests: PieceRequest[] = [];
    let pieces = 0;
    let open = 0;
    for (const wanted of this.#wanted.values()) {
      const isFull = requests.length >= MAX_CONTENTS_PER_MESSAGE ||
        pieces >= MAX_PIECES_PER_REQUEST || this.underWay(source) >= window;
      if (isFull || ++open > MAX_OPEN) break;
      if (wanted.notBefore > now || wanted.lackedBy.has(source)) continue;
      if (!mayAsk(wanted.content.hash)) continue;
      const indices = this.#nextOf(wanted, source, window, MAX_PIECES_PER_REQUEST - pieces);
      if (!indices) continue;
      requests.push({ hash: wanted.content.hash, indices });
      pieces += indices.length;
    }
    return requests;
  }

  /** Bytes that were asked of `source` and have not come. */
  underWay(source: string): number {
    return this.#underWay.get(source) ?? 0;
  }

  /** Nothing that was asked of `source` will come. */
  forget(source: string): void {
    for (const wanted of this.#wanted.values()) {
      for (const [piece, asked] of [...wanted.asked]) {
        if (asked !== source) continue;
        this.#settle(wanted, piece);
        wanted.next = Math.min(wanted.next, Math.max(0, piece));
      }
    }
    this.#underWay.delete(source);
  }

  /** `source` does not have this content. @returns whether it was asked for it. */
  lacks(source: string, hash: string): boolean {
    const wanted = this.#wanted.get(hash);
    if (!wanted) return false;
    wanted.lackedBy.add(source);
    const pieces = [...wanted.asked].filter(([, asked]) => asked === source);
    for (const [piece] of pieces) this.#settle(wanted, piece);
    wanted.next = 0;
    return pieces.length > 0;
  }

  /** Whether `source` has said that it does not have this content. */
  isLackedBy(source: string, hash: string): boolean {
    return this.#wanted.get(hash)?.lackedBy.has(source) ?? false;
  }

  /** `source` may have everything again. */
  mayHave(source: string): void {
    for (const wanted of this.#wanted.values()) wanted.lackedBy.delete(source);
  }

  /** `undefined` when there is nothing to ask for; empty asks for the list. */
  #nextOf(
    wanted: Wanted,
    source: string,
    window: number,
    most: number,
  ): number[] | undefined {
    const { asked, here, list } = wanted;
    if (!list) {
      if (asked.has(LIST)) return undefined;
      this.#settleLater(wanted, LIST, source);
      return [];
    }
    const indices: number[] = [];
    for (; wanted.next < here.length; wanted.next++) {
      const index = wanted.next;
      if (here[index] === 1 || asked.has(index)) continue;
      if (indices.length >= most || this.underWay(source) >= window) break;
      this.#settleLater(wanted, index, source);
      indices.push(index);
    }
    return indices.length > 0 ? indices : undefined;
  }

  #settleLater(wanted: Wanted, piece: number, source: string): void {
    wanted.asked.set(piece, source);
    this.#underWay.set(source, this.underWay(source) + weight(wanted, piece));
  }

  #settle(wanted: Wanted, piece: number): void {
    const source = wanted.asked.get(piece);
    if (source === undefined) return;
    wanted.asked.delete(piece);
    this.#underWay.set(source, Math.max(0, this.underWay(source) - weight(wanted, piece)));
    if (piece >= 0 && wanted.here[piece] === 0) wanted.next = Math.min(wanted.next, piece);
  }
}

function weight({ content }: Wanted, piece: number): number {
  return piece === LIST
    ? MAX_INLINE_PIECES * pieceLength(0)
    : pieceRange(content.size, piece).length;
}
