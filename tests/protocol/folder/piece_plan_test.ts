import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import { PiecePlan } from "../../../src/protocol/folder/piece_plan.ts";
import { type FileContent, nameOfList, pieceLength } from "../../../src/protocol/folder/pieces.ts";

const WINDOW = 4 * pieceLength(0);

/** Pieces that are told apart by their number; their sizes are those that the plan reckons with. */
function fileOf(pieces: number, salt: number) {
  const bytes = (index: number) => Uint8Array.of(salt, index >> 8, index);
  const hashes = Array.from({ length: pieces }, (_, index) => sha256(bytes(index)));
  const list = concatBytes(...hashes);
  const size = pieces * pieceLength(0);
  const content: FileContent = { hash: nameOfList(list), size, executable: false };
  return { bytes, list, content };
}

Deno.test("PiecePlan asks for the list first, and then for what is missing", () => {
  const { bytes, list, content } = fileOf(10, 1);
  const plan = new PiecePlan();
  plan.add(content);
  deepEqual(plan.ask("laptop", 16 * WINDOW, 0), [{ hash: content.hash, indices: [] }]);
  deepEqual(plan.ask("phone", 16 * WINDOW, 0), []);
  ok(!plan.takeList(content.hash, list.subarray(32)));
  ok(plan.takeList(content.hash, list));
  plan.keep(content.hash, 3);
  const [request] = plan.ask("laptop", 16 * WINDOW, 0);
  deepEqual(request?.indices, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
  equal(plan.judge(content.hash, 0, bytes(1)), "damaged");
  equal(plan.judge(content.hash, 3, bytes(3)), "unwanted");
  equal(plan.judge(content.hash, 99, bytes(0)), "unwanted");
  equal(plan.judge(content.hash, 1, bytes(1)), "wanted");
});

Deno.test("PiecePlan asks no source for more than there is room, and another when one lacks it", () => {
  const { list, content } = fileOf(20, 1);
  const plan = new PiecePlan();
  plan.add({ ...content, list });
  deepEqual(plan.ask("laptop", WINDOW, 0)[0]?.indices, [0, 1, 2, 3]);
  deepEqual(plan.ask("laptop", WINDOW, 0), []);
  deepEqual(plan.ask("phone", WINDOW, 0)[0]?.indices, [4, 5, 6, 7]);
  plan.lacks("laptop", content.hash);
  deepEqual(plan.ask("laptop", WINDOW, 0), []);
  plan.forget("phone");
  deepEqual(plan.ask("phone", WINDOW, 0)[0]?.indices, [0, 1, 2, 3]);
  plan.mayHave("laptop");
  deepEqual(plan.ask("laptop", WINDOW, 0)[0]?.indices, [4, 5, 6, 7]);
});

Deno.test("PiecePlan does not ask for what comes unasked, until it has waited for it", () => {
  const { list, content } = fileOf(2, 1);
  const plan = new PiecePlan();
  plan.add({ ...content, list }, 1_000);
  deepEqual(plan.ask("laptop", WINDOW, 999), []);
  plan.putOff(content.hash, 2_000);
  deepEqual(plan.ask("laptop", WINDOW, 1_500), []);
  equal(plan.ask("laptop", WINDOW, 2_000).length, 1);
});

const happening = fc.record({
  source: fc.constantFrom("laptop", "phone"),
  what: fc.constantFrom("ask", "answer", "answer", "answer", "damage", "forget", "lose", "lack"),
  pick: fc.nat(1_000),
});

Deno.test("PiecePlan: whatever is lost, damaged or lacked, everything is here in the end, once", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 4 }),
      fc.array(happening, { maxLength: 80 }),
      (sizes, happenings) => {
        const files = sizes.map((size, salt) => fileOf(size, salt));
        const plan = new PiecePlan();
        const written = new Set<string>();
        const asked = new Map<string, [file: number, index: number][]>();
        for (const { content } of files) plan.add(content);
        const fileWith = (hash: string) => files.findIndex(({ content }) => content.hash === hash);
        const ask = (source: string) => {
          const waiting = asked.get(source) ?? [];
          for (const { hash, indices } of plan.ask(source, WINDOW, 0)) {
            const wanted = indices.length === 0 ? [-1] : indices;
            waiting.push(...wanted.map((index): [number, number] => [fileWith(hash), index]));
          }
          asked.set(source, waiting);
          ok(plan.underWay(source) <= WINDOW + 8 * pieceLength(0));
        };
        const answer = (source: string, pick: number, isDamaged = false) => {
          const waiting = asked.get(source) ?? [];
          const [next] = waiting.splice(pick % Math.max(1, waiting.length), 1);
          if (!next) return;
          const [file, index] = next;
          const { content, list, bytes } = files[file]!;
          if (index < 0) return void plan.takeList(content.hash, list);
          const verdict = plan.judge(content.hash, index, bytes(isDamaged ? index + 1 : index));
          ok(!isDamaged || verdict !== "wanted");
          if (verdict !== "wanted") return;
          ok(!written.has(`${file} ${index}`), "no piece is written twice");
          written.add(`${file} ${index}`);
          if (plan.keep(content.hash, index)) plan.remove(content.hash);
        };
        for (const { source, what, pick } of happenings) {
          if (what === "ask") ask(source);
          else if (what === "answer") answer(source, pick);
          else if (what === "damage") answer(source, pick, true);
          else if (what === "forget") plan.forget(source);
          else if (what === "lose") {
            asked.delete(source);
            plan.forget(source);
          } else {
            const [lacked] = asked.get(source) ?? [];
            if (lacked) plan.lacks(source, files[lacked[0]]!.content.hash);
          }
        }
        for (const source of ["laptop", "phone"]) {
          plan.forget(source);
          plan.mayHave(source);
        }
        for (let round = 0; round < 200; round++) {
          ask("laptop");
          for (let count = asked.get("laptop")!.length; count > 0; count--) answer("laptop", 0);
        }
        const pieces = sizes.reduce((sum, size) => sum + size, 0);
        equal(written.size, pieces);
        equal(plan.missingBytes, 0);
      },
    ),
    { numRuns: 300 },
  );
});
