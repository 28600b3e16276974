import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { FolderIndex, type IndexChange } from "../../../src/protocol/folder/folder_index.ts";
import type { FileRecord } from "../../../src/protocol/folder/file_record.ts";
import type { FileContent } from "../../../src/protocol/folder/pieces.ts";
import { foldersOf } from "../../../src/protocol/folder/folder_path.ts";
import { nameOfList } from "../../../src/protocol/folder/pieces.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import { utf8 } from "../../../src/base/bytes.ts";

const NAMES = ["laptop", "phone", "desktop"];
const PATHS = ["a", "b.txt", "a/b", "d/e.txt"];
const START = Date.UTC(2026, 10, 21, 14, 3);

Deno.test("FolderIndex gives a file that nobody else changed to everyone", () => {
  const [laptop, phone] = [new Device(0), new Device(1)];
  phone.hear(laptop.write("b.txt", "one"));
  phone.hear(laptop.write("b.txt", "two"));
  deepEqual(phone.files(), { "b.txt": "two" });
  phone.hear(laptop.write("b.txt", undefined));
  deepEqual(phone.files(), {});
});

Deno.test("FolderIndex keeps both sides of a conflict, under the same names on each side", () => {
  const [laptop, phone] = [new Device(0), new Device(1)];
  phone.hear(laptop.write("b.txt", "before"));
  const [atLaptop, atPhone] = [laptop.write("b.txt", "laptop's"), phone.write("b.txt", "phone's")];
  laptop.hear(atPhone);
  phone.hear(atLaptop);
  deepEqual(laptop.files(), {
    "b.txt": "phone's",
    "b (conflict laptop 2026-11-21 14.03).txt": "laptop's",
  });
  deepEqual(phone.files(), laptop.files());
  ok(phone.index.digest.equals(laptop.index.digest.bytes));
});

Deno.test("FolderIndex lets a change win over a deletion that did not know of it", () => {
  const [laptop, phone] = [new Device(0), new Device(1)];
  phone.hear(laptop.write("b.txt", "before"));
  const changed = laptop.write("b.txt", "after");
  const deleted = phone.write("b.txt", undefined);
  const heard = [...laptop.hear(deleted), ...phone.hear(changed)];
  for (const device of [laptop, phone]) device.hear(heard);
  deepEqual(laptop.files(), { "b.txt": "after" });
  deepEqual(phone.files(), { "b.txt": "after" });
});

Deno.test("FolderIndex moves a file aside where others have a folder", () => {
  const [laptop, phone] = [new Device(0), new Device(1)];
  const [file, below] = [laptop.write("a", "a file"), phone.write("a/b", "below")];
  const heard = [...laptop.hear(below), ...phone.hear(file)];
  for (const device of [laptop, phone]) device.hear(heard);
  deepEqual(laptop.files(), { "a (conflict laptop 2026-11-21 14.03)": "a file", "a/b": "below" });
  deepEqual(phone.files(), laptop.files());
});

const step = fc.oneof(
  fc.record({
    do: fc.constant("write" as const),
    who: fc.nat(2),
    path: fc.constantFrom(...PATHS),
    text: fc.constantFrom("red", "green", "blue"),
    drift: fc.integer({ min: -100_000, max: 100_000 }),
  }),
  fc.record({
    do: fc.constant("delete" as const),
    who: fc.nat(2),
    path: fc.constantFrom(...PATHS),
  }),
  fc.record({ do: fc.constant("hear" as const), who: fc.nat(2), from: fc.nat(2) }),
);

Deno.test("FolderIndex: any edits on three devices, told in any order, end the same on all", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.infiniteStream(fc.nat(5)), (steps, dice) => {
      const world = new World();
      const said = new Map<string, number>();
      for (const each of steps) {
        const device = world.devices[each.who]!;
        if (each.do === "hear") world.hear(each.who, each.from);
        else if (each.do === "delete") world.tell(each.who, device.write(each.path, undefined));
        else {
          const text = `${each.text} ${said.size}`;
          said.set(text, each.who);
          world.tell(each.who, device.write(each.path, text, each.drift));
        }
        device.assertNoFileIsAFolder();
      }
      world.settle(dice);
      const [first, ...others] = world.devices;
      for (const other of others) {
        deepEqual(other.files(), first!.files());
        ok(other.index.digest.equals(first!.index.digest.bytes));
      }
    }),
    { numRuns: 600 },
  );
});

Deno.test("FolderIndex: what nobody deleted or wrote over knowingly is on every device", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fc.nat(5)), (steps, dice) => {
      const world = new World();
      // What somebody saw and then replaced or deleted; everything else must be there in the end.
      const replaced = new Set<string>();
      const said = new Set<string>();
      for (const each of steps) {
        const device = world.devices[each.who]!;
        if (each.do === "hear") {
          world.hear(each.who, each.from);
          continue;
        }
        const before = device.files()[each.path];
        const text = each.do === "write" ? `${each.text} ${said.size}` : undefined;
        const changes = device.write(each.path, text);
        if (changes.length === 0) continue;
        if (before !== undefined) replaced.add(before);
        if (text !== undefined) said.add(text);
        world.tell(each.who, changes);
      }
      world.settle(dice);
      const there = new Set(Object.values(world.devices[0]!.files()));
      for (const text of said) ok(replaced.has(text) || there.has(text), text);
    }),
    { numRuns: 600 },
  );
});

Deno.test("FolderIndex goes on after a restart where it was", () => {
  const laptop = new Device(0);
  const changes = [...laptop.write("a", "one"), ...laptop.write("b.txt", "two")];
  const again = new FolderIndex(deviceId(0), "laptop");
  for (const change of changes) again.restore(change);
  equal(again.sequence, 2);
  ok(again.digest.equals(laptop.index.digest.bytes));
  deepEqual(again.after(1, 10).map(({ record }) => record.path), ["b.txt"]);
});

Deno.test("FolderIndex that is full leaves out what is added, counts it, and loses no side of a conflict", () => {
  const limits = { records: 2, copies: 1, deletions: 10 };
  const [laptop, phone] = [new Device(0, limits), new Device(1, limits)];
  for (const path of ["a", "b"]) phone.hear(laptop.write(path, path));
  deepEqual(laptop.write("c", "beyond"), []);
  deepEqual(phone.hear(new Device(2).write("d", "beyond, too")), []);
  for (const { index } of [laptop, phone]) deepEqual([index.size, index.leftOut], [2, 1]);
  laptop.hear(phone.write("a", "changed"));
  equal(laptop.files().a, "changed");

  const conflicts = ["a", "b"].map((path) => [
    ...laptop.write(path, `laptop's ${path}`),
    ...phone.write(path, `phone's ${path}`),
  ]);
  for (const changes of conflicts) {
    for (const { record } of changes) laptop.hear([{ record, sequence: 0 }]);
  }
  const texts = Object.values(laptop.files());
  ok(texts.includes("laptop's a") && texts.includes("phone's a"), "the copy has its room");
  ok(texts.includes("laptop's b") && !texts.includes("phone's b"), "no room: nothing is covered");
});

const DAY = 86_400_000;

Deno.test("FolderIndex forgets a deletion after ninety days, on all devices, and not before", () => {
  const [laptop, phone, away] = [new Device(0), new Device(1), new Device(2)];
  for (const device of [phone, away]) device.hear(laptop.write("a", "old"));
  const old = [...away.index.records()].map((record) => ({ record, sequence: 0 }));
  phone.hear(laptop.write("a", undefined));
  const everything = () => true;
  for (const { index } of [laptop, phone]) {
    deepEqual(index.forgetDeletions(START + 89 * DAY, everything), []);
  }
  laptop.hear(old);
  deepEqual(laptop.files(), {}, "who was away for less brings nothing back");
  deepEqual(laptop.index.forgetDeletions(START + 92 * DAY, () => false), [], "it is on the disk");
  ok(!laptop.index.digest.equals(phone.index.digest.bytes));
  phone.index.forgetDeletions(START + 92 * DAY, () => false);
  ok(laptop.index.digest.equals(phone.index.digest.bytes));
  ok(laptop.index.digest.equals(new Device(0).index.digest.bytes), "neither counts it");
  deepEqual(laptop.index.forgetDeletions(START + 93 * DAY, everything), ["a"]);
  equal(laptop.index.size, 0);
  laptop.hear([...phone.index.records()].map((record) => ({ record, sequence: 0 })));
  equal(laptop.index.size, 0, "nobody tells it of that again");
});

Deno.test("FolderIndex that heard of a deletion late keeps it for those who have not heard yet", () => {
  const [laptop, phone, away] = [new Device(0), new Device(1), new Device(2)];
  for (const device of [phone, away]) device.hear(laptop.write("a", "old"));
  const old = [...away.index.records()].map((record) => ({ record, sequence: 0 }));
  const late = START + 80 * DAY;
  for (const { record } of laptop.write("a", undefined)) phone.index.merge(record, late);
  phone.index.forgetDeletions(START + 92 * DAY, () => true);
  phone.hear(old);
  deepEqual(phone.files(), {});
  deepEqual(phone.index.forgetDeletions(late + 92 * DAY, () => true), ["a"]);
});

Deno.test("FolderIndex keeps the latest deletions when there are too many, the same on each device", () => {
  const limits = { records: 100, copies: 10, deletions: 3 };
  const [laptop, phone] = [new Device(0, limits), new Device(1, limits)];
  const paths = ["a", "b", "c", "d", "e"];
  for (const path of paths) phone.hear(laptop.write(path, path));
  const first = laptop.write("a", undefined);
  for (const path of paths.slice(1)) phone.hear(laptop.write(path, undefined));
  phone.hear(first);
  for (const { index } of [laptop, phone]) {
    deepEqual(index.forgetDeletions(START + 60_000, () => true).sort(), ["a", "b"]);
  }
  ok(laptop.index.digest.equals(phone.index.digest.bytes));
  phone.hear(first);
  equal(phone.index.size, 3, "what was crowded out stays out");
});

/** A device whose disk always looks as its index says. */
class Device {
  readonly index: FolderIndex;
  static #now = START;

  constructor(who: number, limits = { records: 1_000, copies: 100, deletions: 1_000 }) {
    this.index = new FolderIndex(deviceId(who), NAMES[who]!, limits);
  }

  write(path: string, text: string | undefined, drift = 0): IndexChange[] {
    const known = this.index.get(path);
    if (text === undefined && !known?.content) return [];
    // The file system has one or the other.
    const isTaken = this.index.isFolder(path) ||
      foldersOf(path).some((folder) => this.index.get(folder)?.content);
    if (text !== undefined && isTaken) return [];
    const content = text === undefined ? null : contentOf(text);
    const now = START + Device.#now++ % 50_000;
    const edit = { path, content, modified: START, base: known?.version };
    return this.index.edit(edit, now + drift)?.changes ?? [];
  }

  hear(changes: readonly IndexChange[]): IndexChange[] {
    const later = changes.flatMap(({ record }) => this.index.merge(record, START));
    return later.filter(({ sequence }) => sequence > 0);
  }

  files(): Record<string, string> {
    const live = [...this.index.records()].filter(({ content }) => content !== null);
    return Object.fromEntries(
      live.map(({ path, content }): [string, string] => [path, texts.get(content!.hash) ?? "?"])
        .sort(([a], [b]) => a < b ? -1 : 1),
    );
  }

  assertNoFileIsAFolder(): void {
    for (const { path, content } of this.index.records()) {
      if (content) ok(!this.index.isFolder(path), path);
    }
  }
}

/** Three devices and what each has still to hear of each other, in order. */
class World {
  readonly devices = [new Device(0), new Device(1), new Device(2)];
  readonly #under = new Map<string, FileRecord[]>();

  tell(from: number, changes: readonly IndexChange[]): void {
    for (const to of [0, 1, 2]) {
      if (to === from) continue;
      const queue = this.#under.get(`${from} ${to}`) ?? [];
      queue.push(...changes.filter(({ sequence }) => sequence > 0).map(({ record }) => record));
      this.#under.set(`${from} ${to}`, queue);
    }
  }

  hear(who: number, from: number): void {
    const record = this.#under.get(`${from} ${who}`)?.shift();
    if (record) this.tell(who, this.devices[who]!.hear([{ record, sequence: 0 }]));
  }

  settle(dice: fc.Stream<number>): void {
    for (const value of dice) {
      const waiting = [...this.#under].filter(([, queue]) => queue.length > 0);
      if (waiting.length === 0) return;
      const [pair] = waiting[value % waiting.length]!;
      const [from, to] = pair.split(" ").map(Number);
      this.hear(to!, from!);
    }
  }
}

const texts = new Map<string, string>();

function contentOf(text: string): FileContent {
  const list = sha256(utf8(text));
  const content = { hash: nameOfList(list), size: utf8(text).length, executable: false, list };
  texts.set(content.hash, text);
  return content;
}

function deviceId(who: number): string {
  return `1220${`${who}`.padStart(64, "0")}`;
}
