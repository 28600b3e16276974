import { isPiece, pieceRange } from "../../protocol/folder/pieces.ts";
import type { FolderDisk } from "./folder_disk.ts";
import type { FolderState } from "./folder_state.ts";
import { hashFile, readPiece } from "./part_file.ts";

/** Bytes of lists that are kept; any other list is made again from its file. */
const MAX_LIST_BYTES = 8 * 1_048_576;

/** The contents that lie on this device's disk, by their names, as far as they are still whole. */
export class LocalContents {
  readonly #disk: FolderDisk;
  readonly #state: FolderState;
  readonly #onStale: (path: string) => void;
  readonly #lists = new Map<string, Uint8Array>();
  #listBytes = 0;

  /** @param onStale is called with the path of a file that is not what it was. */
  constructor(disk: FolderDisk, state: FolderState, onStale: (path: string) => void) {
    this.#disk = disk;
    this.#state = state;
    this.#onStale = onStale;
  }

  /** Takes the list of a content that was just read or received. */
  remember(hash: string, list: Uint8Array): void {
    if (this.#lists.has(hash)) return;
    this.#lists.set(hash, list);
    this.#listBytes += list.length;
    for (const [oldest, { length }] of this.#lists) {
      if (this.#listBytes <= MAX_LIST_BYTES || oldest === hash) return;
      this.#lists.delete(oldest);
      this.#listBytes -= length;
    }
  }

  /** The list of pieces of a content, also of one that was here before, if it is still known. */
  knownList(hash: string): Uint8Array | undefined {
    return this.#lists.get(hash);
  }

  /** The list of pieces of a content that is here. */
  async list(hash: string): Promise<Uint8Array | undefined> {
    const known = this.#lists.get(hash);
    if (known) return known;
    for (const path of this.#state.placesOf(hash)) {
      const content = this.#state.files.get(path)?.content;
      if (!content || content.list) return content?.list;
      using file = await this.#disk.open(path).catch(() => undefined);
      const hashed = file && await hashFile(file, content.size);
      if (hashed?.hash === hash) {
        this.remember(hash, hashed.list);
        return hashed.list;
      }
      this.#onStale(path);
    }
    return undefined;
  }

  /** A piece of a content that is here and whole. */
  async piece(hash: string, index: number): Promise<Uint8Array | undefined> {
    const list = await this.list(hash);
    if (!list) return undefined;
    for (const path of this.#state.placesOf(hash)) {
      const size = this.#state.files.get(path)?.content.size ?? 0;
      if (pieceRange(size, index).length <= 0) return undefined;
      using file = await this.#disk.open(path).catch(() => undefined);
      const bytes = file && await readPiece(file, size, index);
      if (bytes && isPiece(list, index, bytes)) return bytes;
      this.#onStale(path);
    }
    return undefined;
  }
}
