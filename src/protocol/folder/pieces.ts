import { equalBytes, toHex } from "../../base/bytes.ts";
import { sha256 } from "../crypto/primitives.ts";

/** SHA-256 of a piece, and of a list of pieces. */
export const HASH_LENGTH = 32;
/** Largest file: its list of pieces must fit one message. */
export const MAX_FILE_SIZE = 8 * 2 ** 30;
/** Files of at most so many pieces are announced together with their list. */
export const MAX_INLINE_PIECES = 8;

const PIECE_LENGTH = 262_144;
const LARGE_FILE = 4 * 2 ** 30;

/**
 * What a file contains. Its name is the SHA-256 of its list of pieces: the SHA-256 of every piece,
 * one behind the other; of an empty file, of nothing.
 */
export interface FileContent {
  /** The name, 64 hexadecimal digits. */
  readonly hash: string;
  /** Bytes, at most {@linkcode MAX_FILE_SIZE}. */
  readonly size: number;
  /** Whether its owner may execute it. */
  readonly executable: boolean;
  /** The list of pieces, when it is short. */
  readonly list?: Uint8Array;
}

/** Bytes of every piece but the last of a file of `size` bytes. */
export function pieceLength(size: number): number {
  return size > LARGE_FILE ? 2 * PIECE_LENGTH : PIECE_LENGTH;
}

export function pieceCount(size: number): number {
  return Math.ceil(size / pieceLength(size));
}

/** Where a piece lies in its file. */
export function pieceRange(size: number, index: number): { offset: number; length: number } {
  const offset = index * pieceLength(size);
  return { offset, length: Math.min(pieceLength(size), size - offset) };
}

/** The name of the content that has this list. */
export function nameOfList(list: Uint8Array): string {
  return toHex(sha256(list));
}

/** Whether `list` is the one that belongs to a content. */
export function isListOf(list: Uint8Array, { hash, size }: FileContent): boolean {
  return list.length === pieceCount(size) * HASH_LENGTH && nameOfList(list) === hash;
}

/** The hash of one piece in its list. */
export function hashInList(list: Uint8Array, index: number): Uint8Array {
  return list.subarray(index * HASH_LENGTH, (index + 1) * HASH_LENGTH);
}

/** Whether `bytes` are the piece with this index. */
export function isPiece(list: Uint8Array, index: number, bytes: Uint8Array): boolean {
  return equalBytes(sha256(bytes), hashInList(list, index));
}
