import { createHash } from "node:crypto";
import {
  type FileContent,
  HASH_LENGTH,
  isPiece,
  pieceCount,
  pieceLength,
  pieceRange,
} from "../../protocol/folder/pieces.ts";

/** A file that is being put together from pieces. Close it after use. */
export class PartFile implements Disposable {
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** Opens the part at `path`, making it when it is not there; no link is followed. */
  static async open(path: string): Promise<PartFile> {
    const options = { read: true, write: true };
    try {
      return new PartFile(await Deno.open(path, { ...options, createNew: true }));
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    if ((await Deno.lstat(path)).isFile) return new PartFile(await Deno.open(path, options));
    await Deno.remove(path);
    return new PartFile(await Deno.open(path, { ...options, createNew: true }));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#file.seek(offset, Deno.SeekMode.Start);
    for (let written = 0; written < bytes.length;) {
      written += await this.#file.write(bytes.subarray(written));
    }
  }

  /** Takes the beginning of a file, as far as that has `size` bytes. */
  async copy(from: Deno.FsFile, size: number): Promise<void> {
    for (let index = 0; index < pieceCount(size); index++) {
      const bytes = await readPiece(from, size, index);
      if (!bytes) return;
      await this.write(pieceRange(size, index).offset, bytes);
    }
  }

  /** Which pieces of `content` are here, whole. */
  async pieces(content: FileContent, list: Uint8Array): Promise<number[]> {
    const here: number[] = [];
    for (let index = 0; index < pieceCount(content.size); index++) {
      const bytes = await readPiece(this.#file, content.size, index);
      if (bytes && isPiece(list, index, bytes)) here.push(index);
    }
    return here;
  }

  /** Gives it its length and waits until it is on disk. @returns whether it is all of `content`. */
  async complete(content: FileContent): Promise<boolean> {
    await this.#file.truncate(content.size);
    await this.#file.sync();
    return (await hashFile(this.#file, content.size))?.hash === content.hash;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** A piece of a file of `size` bytes; `undefined` when the file is shorter. */
export async function readPiece(
  file: Deno.FsFile,
  size: number,
  index: number,
): Promise<Uint8Array | undefined> {
  const { offset, length } = pieceRange(size, index);
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const read = await file.read(bytes.subarray(filled));
    if (read === null) return undefined;
    filled += read;
  }
  return bytes;
}

/** The content of a file; `undefined` when it does not have `size` bytes. */
export async function hashFile(
  file: Deno.FsFile,
  size: number,
): Promise<{ hash: string; list: Uint8Array } | undefined> {
  const count = pieceCount(size);
  const list = new Uint8Array(count * HASH_LENGTH);
  const buffer = new Uint8Array(Math.min(size, pieceLength(size)));
  await file.seek(0, Deno.SeekMode.Start);
  for (let index = 0; index < count; index++) {
    const piece = buffer.subarray(0, pieceRange(size, index).length);
    for (let filled = 0; filled < piece.length;) {
      const read = await file.read(piece.subarray(filled));
      if (read === null) return undefined;
      filled += read;
    }
    list.set(createHash("sha256").update(piece).digest(), index * HASH_LENGTH);
  }
  return { hash: createHash("sha256").update(list).digest("hex"), list };
}
