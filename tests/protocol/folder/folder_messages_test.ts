import { deepEqual, equal, throws } from "node:assert/strict";
import { encodeCbor } from "../../../src/protocol/cbor.ts";
import type { CborValue } from "../../../src/protocol/cbor_value.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import {
  decodeFolderMessage,
  encodeFolderMessage,
  type FolderMessage,
} from "../../../src/protocol/folder/folder_messages.ts";
import { nameOfList } from "../../../src/protocol/folder/pieces.ts";
import type { FileRecord } from "../../../src/protocol/folder/file_record.ts";

const folder = "photos";
const list = sha256(new Uint8Array(5));
const hash = nameOfList(list);
const device = `1220${"ab".repeat(32)}`;
const record: FileRecord = {
  path: "a/b.txt",
  content: { hash, size: 5, executable: true, list },
  modified: 1_700_000_000_000,
  device: "laptop",
  version: new Map([[device, 1_700_000_000_001]]),
};
const messages: readonly FolderMessage[] = [
  {
    kind: "state",
    folder,
    life: new Uint8Array(8),
    digest: new Uint8Array(2_048),
    missing: 3,
    asks: true,
  },
  {
    kind: "changes",
    folder,
    records: [record, { ...record, path: "gone", content: null }],
    pushed: true,
  },
  {
    kind: "want",
    folder,
    requests: [{ hash, indices: [] }, { hash, indices: [0, 7] }],
    afresh: false,
  },
  { kind: "pieces", folder, pieces: [{ hash, index: 0, bytes: new Uint8Array(5) }] },
  { kind: "list", folder, hash, list },
  { kind: "lack", folder, hashes: [hash] },
];

for (const message of messages) {
  Deno.test(`the folder message "${message.kind}" is read as it was written`, () => {
    deepEqual(decodeFolderMessage(encodeFolderMessage(message)), { said: message, unsound: 0 });
  });
}

const sound: readonly CborValue[] = [
  "a",
  sha256(list),
  5,
  false,
  list,
  1,
  "laptop",
  [new Uint8Array(34), 1],
];
const hostile: Readonly<Record<string, readonly CborValue[]>> = {
  "a path that leads out": altered(0, "../x"),
  "an absolute path": altered(0, "/etc/passwd"),
  "a path with NUL": altered(0, "a\0"),
  "the program's own name": altered(0, ".cairn-folder"),
  "a list that is not the content's": altered(4, new Uint8Array(32)),
  "a small file without a list": altered(4, null),
  "a list of another length": altered(2, 300_000),
  "a file beyond the largest": altered(2, 2 ** 40),
  "a device with a slash in its name": altered(6, "a/b"),
  "no version": altered(7, []),
  "half a version": altered(7, [new Uint8Array(34)]),
  "a device twice in a version": altered(7, [new Uint8Array(34), 1, new Uint8Array(34), 2]),
  "a counter beyond all times": altered(7, [new Uint8Array(34), 2 ** 53 - 1]),
  "a time beyond all calendars": altered(5, 2 ** 50),
};

for (const [what, row] of Object.entries(hostile)) {
  Deno.test(`a record with ${what} is refused`, () => {
    const message = (record: readonly CborValue[]) =>
      encodeCbor(
        new Map<number, CborValue>([[0, 1], [1, folder], [2, [[...record]]], [3, false]]),
      );
    equal(decodeFolderMessage(message(sound)).unsound, 0);
    const { said, unsound } = decodeFolderMessage(message(row));
    deepEqual([said.kind === "changes" && said.records, unsound], [[], 1]);
  });
}

Deno.test("folder messages of no known kind, and those with too much in them, are refused", () => {
  const refused: [number, CborValue][][] = [
    [[0, 99], [1, folder]],
    [[0, 4], [1, "x".repeat(65)], [2, sha256(list)], [3, list]],
    [[0, 2], [1, folder], [2, Array(257).fill([sha256(list), [0]])], [3, false]],
    [[0, 2], [1, folder], [2, Array(3).fill([sha256(list), Array(100).fill(0)])], [3, false]],
  ];
  for (const fields of refused) {
    throws(() => decodeFolderMessage(encodeCbor(new Map(fields))), { code: "malformed" });
  }
});

Deno.test("what is sound in a folder message is heard beside what is not", () => {
  const piece = [sha256(list), 0, new Uint8Array(5)];
  const rows: Readonly<Record<string, [number, CborValue[], readonly CborValue[]]>> = {
    records: [1, [...sound], altered(0, "/etc/passwd")],
    requests: [2, [sha256(list), [0]], [sha256(list), "all"]],
    pieces: [3, piece, [sha256(list), 0, new Uint8Array(600_000)]],
  };
  for (const [field, [kind, good, bad]] of Object.entries(rows)) {
    const items: CborValue[] = [[...bad], good, "no row", good];
    const fields: [number, CborValue][] = [[0, kind], [1, folder], [2, items], [3, false]];
    const { said, unsound } = decodeFolderMessage(encodeCbor(new Map(fields)));
    deepEqual([Object.entries(said).find(([name]) => name === field)?.[1].length, unsound], [2, 2]);
  }
});

function altered(index: number, value: CborValue): readonly CborValue[] {
  return sound.with(index, value);
}
