import { deepEqual, equal, rejects } from "node:assert/strict";
import { concatBytes, utf8 } from "../../../src/base/bytes.ts";
import {
  type ArchiveEntry,
  ArchiveReader,
  type BackupHeader,
  isArchived,
  writeArchive,
} from "../../../src/roles/backup/archive.ts";
import { ByteReader } from "../../../src/roles/backup/byte_reader.ts";

const HEADER: BackupHeader = {
  kind: "server",
  format: 2,
  peerId: "Qm…",
  takenAt: 1_795_272_533_048,
  madeBy: "0.1.0",
};
const FILE = { type: "file", name: "mgmt_token", content: utf8("token") } as const;
const [FIRST, SECOND] = [record(1, "a"), record(3, "b")];

function record(encoding: 1 | 2 | 3, key: string): ArchiveEntry {
  return { type: "record", encoding, key: utf8(key), value: utf8(`value of ${key}`) };
}

async function* stream<T>(...items: readonly T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

async function written(...entries: readonly ArchiveEntry[]): Promise<Uint8Array> {
  return concatBytes(...await Array.fromAsync(writeArchive(HEADER, stream(...entries))));
}

async function read(bytes: Uint8Array) {
  const archive = await ArchiveReader.open(new ByteReader(stream(bytes)));
  const entries = await Array.fromAsync(archive.entries());
  return { header: archive.header, entries, count: archive.count };
}

Deno.test("An archive is read as it was written", async () => {
  deepEqual(await read(await written(FILE, FIRST, SECOND)), {
    header: HEADER,
    entries: [FILE, FIRST, SECOND],
    count: { files: 1, records: 2 },
  });
});

Deno.test("An archive without its end, with something behind it, or of another form is refused", async () => {
  const whole = await written(FILE, FIRST, SECOND);
  const bad = [
    ...[0, 3, 40, whole.length - 1].map((end) => whole.subarray(0, end)),
    concatBytes(whole, utf8("x")),
    await written(SECOND, FIRST),
    await written(FIRST, FIRST),
    await written({ ...FILE, name: "../outside" }),
    await written({ ...FILE, name: "cairn.kv" }),
    await written({ ...FILE, content: new Uint8Array(65_537) }),
    concatBytes(
      whole.subarray(0, whole.indexOf(0x46, 100)),
      Uint8Array.of(0x46, 255, 255, 255, 255),
    ),
  ];
  for (const bytes of bad) await rejects(read(bytes), { code: "backup-unusable" });
});

Deno.test("The counts at the end of an archive have to be right", async () => {
  const text = new TextDecoder("latin1").decode(await written(FIRST));
  const wrong = Uint8Array.from(
    text.replace('"records":1', '"records":2'),
    (character) => character.charCodeAt(0),
  );
  await rejects(read(wrong), { code: "backup-unusable" });
});

Deno.test("An archive of a later version is refused with the reason", async () => {
  const text = new TextDecoder("latin1").decode(await written(FIRST));
  const later = Uint8Array.from(text.replace('"version":1', '"version":2'), (c) => c.charCodeAt(0));
  await rejects(read(later), { code: "backup-unusable", message: /newer version of cairn/ });
});

Deno.test("What belongs to the store or the folder itself is no file of a backup", () => {
  const own = ["cairn.kv", "cairn.kv-wal", "cairn.kv.format-1", "store.json", "lock", "reserve"];
  for (const name of [...own, "peer.sock", ".hidden", "a/b", "", "remote_store.json"]) {
    equal(isArchived(name), false, name);
  }
  for (const name of ["mgmt_token", "relay_secret", "cairn.env"]) {
    equal(isArchived(name), true, name);
  }
});
