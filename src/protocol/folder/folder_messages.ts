import { fromHex, toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { type CborMap, CborMap as Fields, decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { type FileRecord, RECORD_COLUMNS, recordFromRow, recordToCbor } from "./file_record.ts";
import { DIGEST_LENGTH } from "./folder_digest.ts";
import { MAX_COPIES, MAX_RECORDS } from "./folder_index.ts";
import { HASH_LENGTH, MAX_FILE_SIZE, pieceCount, pieceLength } from "./pieces.ts";

/** The channel of everything that devices say about a folder. */
export const FOLDER_CHANNEL = "cairn/folder";
/** Longest name under which devices share a folder, in bytes. */
export const MAX_FOLDER_NAME = 64;
/** Most records in one message. */
export const MAX_RECORDS_PER_MESSAGE = 1_000;
/** Most contents in one request or answer. */
export const MAX_CONTENTS_PER_MESSAGE = 256;
/** Most pieces that one request asks for. */
export const MAX_PIECES_PER_REQUEST = 256;

const MAX_LIST_LENGTH = HASH_LENGTH * pieceCount(MAX_FILE_SIZE);
const MAX_PIECE_LENGTH = pieceLength(MAX_FILE_SIZE);
const LIFE_LENGTH = 8;

/** Part of a content that a device asks for. */
export interface PieceRequest {
  /** The name of the content. */
  readonly hash: string;
  /** Which pieces; none asks for the list of pieces. At most 256 in a message. */
  readonly indices: readonly number[];
}

/** One piece of a content. */
export interface Piece {
  readonly hash: string;
  readonly index: number;
  /** At most 512 KiB; when decoded, a view on the message. */
  readonly bytes: Uint8Array;
}

/** What devices that share a folder say to one another. */
export type FolderMessage =
  & {
    /** The name under which they share it, at most 64 bytes. */
    readonly folder: string;
  }
  & (
    | {
      /** How far a device is; also how it makes itself known. */
      readonly kind: "state";
      /** 8 random bytes, others after each start: requests to an earlier life were forgotten. */
      readonly life: Uint8Array;
      /** Its digest; see `FolderDigest`. */
      readonly digest: Uint8Array;
      /** Files that it knows of and does not have yet. */
      readonly missing: number;
      /** Whether it would like to know the other's. */
      readonly asks: boolean;
    }
    | {
      /** What became different. */
      readonly kind: "changes";
      /** At most 1,000. */
      readonly records: readonly FileRecord[];
      /** The contents follow unasked. */
      readonly pushed: boolean;
    }
    | {
      /** What a device lacks; answered in order. */
      readonly kind: "want";
      /** At most 256. */
      readonly requests: readonly PieceRequest[];
      /** Forget what was asked before. */
      readonly afresh: boolean;
    }
    | {
      readonly kind: "pieces";
      /** At most 256. */
      readonly pieces: readonly Piece[];
    }
    | {
      /** A list of pieces. */
      readonly kind: "list";
      readonly hash: string;
      readonly list: Uint8Array;
    }
    | {
      /** Asked for and not to be had here. */
      readonly kind: "lack";
      /** At most 256. */
      readonly hashes: readonly string[];
    }
  );

const KINDS = ["state", "changes", "want", "pieces", "list", "lack"] as const;

export function encodeFolderMessage(message: FolderMessage): Uint8Array<ArrayBuffer> {
  const fields = fieldsOf(message);
  return encodeCbor(
    new Map<number, CborValue>([
      [0, KINDS.indexOf(message.kind)],
      [1, message.folder],
      ...fields.map((field, index): [number, CborValue] => [index + 2, field]),
    ]),
  );
}

function fieldsOf(message: FolderMessage): CborValue[] {
  switch (message.kind) {
    case "state":
      return [message.life, message.digest, message.missing, message.asks];
    case "changes":
      return [message.records.map(recordToCbor), message.pushed];
    case "want":
      return [
        message.requests.map(({ hash, indices }) => [fromHex(hash), [...indices]]),
        message.afresh,
      ];
    case "pieces":
      return [message.pieces.map(({ hash, index, bytes }) => [fromHex(hash), index, bytes])];
    case "list":
      return [fromHex(message.hash), message.list];
    case "lack":
      return [message.hashes.map(fromHex)];
  }
}

/** A message, and how many of its rows are not what any device says: those are left out. */
export interface HeardFolderMessage {
  readonly said: FolderMessage;
  readonly unsound: number;
}

/** @throws {ProtocolError} `malformed` when there is nothing to be had of it. */
export function decodeFolderMessage(data: Uint8Array): HeardFolderMessage {
  const rows = new SoundRows();
  return { said: decodeWith(data, rows), unsound: rows.unsound };
}

/** Reads the rows of a message one by one: a bad one does not spoil the others. */
class SoundRows {
  unsound = 0;

  read<Row>(
    map: CborMap,
    key: number,
    { columns, max, row }: { columns: number; max: number; row: (fields: CborMap) => Row },
  ): Row[] {
    const items = new Fields(new Map(map.array(key, max).entries()));
    return items.keys().flatMap((index) => {
      try {
        return [row(items.row(index, columns))];
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.unsound++;
        return [];
      }
    });
  }
}

function decodeWith(data: Uint8Array, rows: SoundRows): FolderMessage {
  const map = decodeCborMap(data);
  const kind = KINDS[map.uint(0)];
  const folder = map.text(1, MAX_FOLDER_NAME);
  switch (kind) {
    case "state":
      return {
        kind,
        folder,
        life: map.bytes(2, LIFE_LENGTH).slice(),
        digest: map.bytes(3, DIGEST_LENGTH).slice(),
        missing: map.uint(4, MAX_RECORDS + MAX_COPIES),
        asks: map.boolean(5),
      };
    case "changes": {
      const shape = { columns: RECORD_COLUMNS, max: MAX_RECORDS_PER_MESSAGE, row: recordFromRow };
      return { kind, folder, records: rows.read(map, 2, shape), pushed: map.boolean(3) };
    }
    case "want": {
      const shape = { columns: 2, max: MAX_CONTENTS_PER_MESSAGE, row: requestFromRow };
      const requests = atMost(MAX_PIECES_PER_REQUEST, rows.read(map, 2, shape));
      return { kind, folder, requests, afresh: map.boolean(3) };
    }
    case "pieces": {
      const shape = { columns: 3, max: MAX_CONTENTS_PER_MESSAGE, row: pieceFromRow };
      return { kind, folder, pieces: rows.read(map, 2, shape) };
    }
    case "list": {
      const hash = toHex(map.bytes(2, HASH_LENGTH));
      return { kind, folder, hash, list: map.bytesUpTo(3, MAX_LIST_LENGTH).slice() };
    }
    case "lack": {
      const hashes = map.bytesArray(2, HASH_LENGTH, MAX_CONTENTS_PER_MESSAGE);
      return { kind, folder, hashes: hashes.map(toHex) };
    }
    default:
      throw new ProtocolError("malformed", "A folder message of no known kind");
  }
}

function requestFromRow(row: CborMap): PieceRequest {
  return {
    hash: toHex(row.bytes(0, HASH_LENGTH)),
    indices: row.uintArray(1, pieceCount(MAX_FILE_SIZE), MAX_PIECES_PER_REQUEST),
  };
}

function pieceFromRow(row: CborMap): Piece {
  return {
    hash: toHex(row.bytes(0, HASH_LENGTH)),
    index: row.uint(1, MAX_FILE_SIZE),
    bytes: row.bytesUpTo(2, MAX_PIECE_LENGTH),
  };
}

function atMost(max: number, requests: PieceRequest[]): PieceRequest[] {
  const pieces = requests.reduce((sum, { indices }) => sum + indices.length, 0);
  if (pieces <= max) return requests;
  throw new ProtocolError("malformed", "A request for too many pieces");
}
