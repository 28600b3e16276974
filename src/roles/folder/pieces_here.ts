import { type FileContent, isPiece, pieceCount, pieceRange } from "../../protocol/folder/pieces.ts";
import type { FolderDisk } from "./folder_disk.ts";
import { readPiece } from "./part_file.ts";

/**
 * Which pieces of a content need not be fetched: those that an earlier try left in the part for
 * `path`, and those of the file that is to be replaced, which are copied into the part.
 */
export async function* piecesHere(
  disk: FolderDisk,
  path: string,
  { content, list, before }: {
    content: FileContent;
    list: Uint8Array;
    before: FileContent | undefined;
  },
): AsyncGenerator<number> {
  const found = new Set<number>();
  if (await disk.hasPart(path, content.hash)) {
    using part = await disk.openPart(path, content.hash);
    for (const index of await part.pieces(content, list)) {
      found.add(index);
      yield index;
    }
  }
  using old = before && await disk.open(path);
  if (!old || !before) return;
  for (let index = 0; index < pieceCount(Math.min(before.size, content.size)); index++) {
    const bytes = found.has(index) ? undefined : await readPiece(old, content.size, index);
    if (!bytes || !isPiece(list, index, bytes)) continue;
    using part = await disk.openPart(path, content.hash);
    await part.write(pieceRange(content.size, index).offset, bytes);
    yield index;
  }
}
