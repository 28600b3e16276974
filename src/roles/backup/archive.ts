/**
 * What a backup holds, before it is encrypted: frames of a type (u8), a length (u32, big-endian)
 * and so many bytes. The first is the header, the last counts the others:
 *
 * - `H` JSON, a {@linkcode BackupHeader}
 * - `F` a file of the data folder: length of its name (u8), name, content
 * - `R` a record of the store: encoding of its value (u8), length of its key (u16), key, value, as
 *   Deno KV keeps them
 * - `E` JSON, `{"files": …, "records": …}`
 */

import {
  compareBytes,
  concatBytes,
  fromUtf8,
  readU16,
  readU32,
  u16,
  u32,
  utf8,
} from "../../base/bytes.ts";
import type { DataFolderKind } from "../store_record.ts";
import { unusable } from "./age_header.ts";
import type { ByteReader } from "./byte_reader.ts";

const VERSION = 1;
const HEADER = 0x48;
const FILE = 0x46;
const RECORD = 0x52;
const END = 0x45;
/** More than the largest key and value of Deno KV, and than a {@linkcode MAX_FILE_BYTES} file. */
const MAX_FRAME = 256 * 1024;
/** The largest file beside the store that is part of a backup. */
export const MAX_FILE_BYTES = 64 * 1024;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** What belongs to the store itself, or to the folder in which it lies. */
const OWN_FILE =
  /^(cairn\.kv.*|store\.json.*|remote_store\.json.*|lock|reserve|.*\.(sock|age|partial))$/;

/** What a backup says of itself. */
export interface BackupHeader {
  readonly kind: DataFolderKind;
  /** Format of the store. */
  readonly format: number;
  /** `null` when the store is encrypted by a passphrase of its own. */
  readonly peerId: string | null;
  /** Unix milliseconds; everything that was durable then is in it. */
  readonly takenAt: number;
  /** The version of cairn that made it. */
  readonly madeBy: string;
}

/** Encodings of Deno KV: structured clone, 64-bit integer, bytes. */
export type Encoding = 1 | 2 | 3;

/** A part of a data folder. */
export type ArchiveEntry =
  | { readonly type: "file"; readonly name: string; readonly content: Uint8Array }
  | {
    readonly type: "record";
    readonly encoding: Encoding;
    readonly key: Uint8Array;
    readonly value: Uint8Array;
  };

/** Whether a file of a data folder goes into its backup by this name. */
export function isArchived(name: string): boolean {
  return FILE_NAME.test(name) && !OWN_FILE.test(name);
}

/** The bytes of a backup of `entries`; records come in the order of their keys. */
export async function* writeArchive(
  header: BackupHeader,
  entries: AsyncIterable<ArchiveEntry>,
): AsyncGenerator<Uint8Array, void> {
  yield frame(HEADER, utf8(JSON.stringify({ version: VERSION, ...header })));
  const count = { files: 0, records: 0 };
  for await (const entry of entries) {
    if (entry.type === "file") {
      count.files++;
      const name = utf8(entry.name);
      yield frame(FILE, Uint8Array.of(name.length), name, entry.content);
    } else {
      count.records++;
      const { encoding, key, value } = entry;
      yield frame(RECORD, Uint8Array.of(encoding), u16(key.length), key, value);
    }
  }
  yield frame(END, utf8(JSON.stringify(count)));
}

/** Reads a backup that was decrypted, and holds it to its form. */
export class ArchiveReader {
  readonly #reader: ByteReader;
  #files = 0;
  #records = 0;
  #lastKey: Uint8Array = new Uint8Array(0);

  private constructor(reader: ByteReader, readonly header: BackupHeader) {
    this.#reader = reader;
  }

  /** @throws {CairnError} `backup-unusable`, as {@linkcode ArchiveReader.entries} does. */
  static async open(reader: ByteReader): Promise<ArchiveReader> {
    const { type, content } = await readFrame(reader);
    if (type !== HEADER) throw malformed();
    const header = parseJson(content);
    if (header["version"] !== VERSION) {
      throw unusable("The backup was made by a newer version of cairn: update this one");
    }
    const { kind, format, peerId, takenAt, madeBy } = header;
    const isWhole = (kind === "server" || kind === "peer") && typeof format === "number" &&
      (typeof peerId === "string" || peerId === null) && typeof takenAt === "number" &&
      typeof madeBy === "string";
    if (!isWhole) throw malformed();
    return new ArchiveReader(reader, { kind, format, peerId, takenAt, madeBy });
  }

  get count(): { readonly files: number; readonly records: number } {
    return { files: this.#files, records: this.#records };
  }

  /** All entries. That they are complete is known when this ends. */
  async *entries(): AsyncGenerator<ArchiveEntry, void> {
    while (true) {
      const { type, content } = await readFrame(this.#reader);
      if (type === END) {
        this.#requireCount(content);
        break;
      }
      if (type === FILE) yield this.#file(content);
      else if (type === RECORD) yield this.#record(content);
      else throw malformed();
      if (type === FILE) this.#files++;
      else this.#records++;
    }
    if (!await this.#reader.isAtEnd()) throw malformed();
  }

  #requireCount(content: Uint8Array): void {
    const { files, records } = parseJson(content);
    if (files !== this.#files || records !== this.#records) throw malformed();
  }

  #file(content: Uint8Array): ArchiveEntry {
    const end = 1 + (content[0] ?? 0);
    const name = fromUtf8(content.subarray(1, end));
    if (!isArchived(name) || content.length - end > MAX_FILE_BYTES) throw malformed();
    return { type: "file", name, content: content.subarray(end) };
  }

  #record(content: Uint8Array): ArchiveEntry {
    const encoding = content[0];
    if (content.length < 3 || (encoding !== 1 && encoding !== 2 && encoding !== 3)) {
      throw malformed();
    }
    const end = 3 + readU16(content, 1);
    const key = content.subarray(3, end);
    if (content.length < end || compareBytes(key, this.#lastKey) <= 0) throw malformed();
    this.#lastKey = key.slice();
    return { type: "record", encoding, key, value: content.subarray(end) };
  }
}

function frame(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return concatBytes(Uint8Array.of(type), u32(length), ...parts);
}

async function readFrame(reader: ByteReader): Promise<{ type: number; content: Uint8Array }> {
  const start = await reader.read(5);
  const type = start[0];
  if (type === undefined || start.length < 5) throw malformed();
  const length = readU32(start, 1);
  if (length > MAX_FRAME) throw malformed();
  const content = await reader.read(length);
  if (content.length < length) throw malformed();
  return { type, content };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes));
    if (typeof value === "object" && value !== null) return { ...value };
  } catch {
    // Falls through.
  }
  throw malformed();
}

/** It was encrypted like this, so that damage on the way is not what it is. */
function malformed() {
  return unusable("The backup cannot be read: it was made wrongly, or by a newer version of cairn");
}
