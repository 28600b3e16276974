import { fromHex, toHex, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { CborMap } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { sha256 } from "../crypto/primitives.ts";
import { conflictPath, deviceLabel, MAX_PATH_BYTES, pathFault } from "./folder_path.ts";
import {
  type FileContent,
  HASH_LENGTH,
  isListOf,
  MAX_FILE_SIZE,
  MAX_INLINE_PIECES,
  pieceCount,
} from "./pieces.ts";
import {
  latestChange,
  sortedVersion,
  versionFromCbor,
  versionToCbor,
  type VersionVector,
} from "./version_vector.ts";

/** Latest time of a file: the last that a year of four digits names. */
const MAX_TIME = 253_402_300_799_999;
const MAX_DEVICE_BYTES = 32;
/** How many items the row of a record has. */
export const RECORD_COLUMNS = 8;
/** SHA-256, 32 bytes: what a Peer ID begins with. */
const MULTIHASH_PREFIX = "1220";

/** What a device says of one file. */
export interface FileRecord {
  /** Relative to the folder; see {@linkcode pathFault}. */
  readonly path: string;
  /** `null` once the file was deleted: such a record stays, and is what tells others. */
  readonly content: FileContent | null;
  /** Unix milliseconds: when the file was changed last, by its own time. */
  readonly modified: number;
  /** What the device that wrote it calls itself, for the name of a conflict. */
  readonly device: string;
  readonly version: VersionVector;
}

/** Whether a disk would look the same with either. */
export function sameContent(a: FileContent | null, b: FileContent | null): boolean {
  if (a === null || b === null) return a === b;
  return a.hash === b.hash && a.executable === b.executable;
}

/** Positive when `a` wins over `b`: the same on every device, whichever it hears of first. */
export function compareRank(a: FileRecord, b: FileRecord): number {
  const [latestA, latestB] = [latestChange(a.version), latestChange(b.version)];
  return latestA.counter - latestB.counter || compareText(latestA.device, latestB.device) ||
    compareText(contentKey(a), contentKey(b)) || a.modified - b.modified ||
    compareText(a.device, b.device);
}

/**
 * The record that keeps the loser of a conflict, the same on every device. In its version the
 * content stands for a device: two losers of one name are strangers, neither of which covers the
 * other.
 */
export function conflictCopy(loser: FileRecord): FileRecord {
  const { counter } = latestChange(loser.version);
  const maker = `${MULTIHASH_PREFIX}${loser.content?.hash ?? ""}`;
  return {
    ...loser,
    path: conflictPath(loser.path, loser.device, loser.modified),
    version: new Map([[maker, counter]]),
  };
}

/** 8 bytes that differ, but for chance, where two records of one path do. */
export function recordDigest(record: FileRecord): Uint8Array {
  const version = sortedVersion(record.version).map((entry) => entry.join("=")).join(" ");
  return sha256(utf8(`${record.path}\0${contentKey(record)}\0${version}`)).subarray(0, 8);
}

/** As a row of an announcement. */
export function recordToCbor({ path, content, modified, device, version }: FileRecord): CborValue {
  return [
    path,
    content && fromHex(content.hash),
    content?.size ?? 0,
    content?.executable ?? false,
    content?.list ?? null,
    modified,
    device,
    versionToCbor(version),
  ];
}

/** Bytes that a record takes in a message, or a little more. */
export function recordSize({ path, content, version }: FileRecord): number {
  return 128 + 3 * path.length + (content?.list?.length ?? 0) + 46 * version.size;
}

/** One row of an announcement. @throws {ProtocolError} `malformed`. */
export function recordFromRow(row: CborMap): FileRecord {
  const path = row.text(0, MAX_PATH_BYTES);
  const fault = pathFault(path);
  if (fault !== undefined) throw new ProtocolError("malformed", `A file is refused: ${fault}`);
  const device = row.text(6, MAX_DEVICE_BYTES);
  if (deviceLabel(device) !== device) {
    throw new ProtocolError("malformed", "A device has a name that is none");
  }
  return {
    path,
    content: row.has(1) ? contentFromRow(row) : null,
    modified: row.uint(5, MAX_TIME),
    device,
    version: versionFromCbor(row, 7),
  };
}

function contentFromRow(row: CborMap): FileContent {
  const content: FileContent = {
    hash: toHex(row.bytes(1, HASH_LENGTH)),
    size: row.uint(2, MAX_FILE_SIZE),
    executable: row.boolean(3),
  };
  if (!row.has(4)) {
    if (pieceCount(content.size) > MAX_INLINE_PIECES) return content;
    throw new ProtocolError("malformed", "A small file comes without its list of pieces");
  }
  const list = row.bytesUpTo(4, MAX_INLINE_PIECES * HASH_LENGTH).slice();
  if (isListOf(list, content)) return { ...content, list };
  throw new ProtocolError("malformed", "A file has a list of pieces that is not its own");
}

function contentKey({ content }: FileRecord): string {
  return content ? `${content.hash}${content.executable ? "x" : ""}` : "";
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
