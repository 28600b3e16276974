import { deepEqual } from "node:assert/strict";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import { nameOfList } from "../../../src/protocol/folder/pieces.ts";
import type { FolderSaying } from "../../../src/roles/folder/folder_talk.ts";
import { PieceGiver } from "../../../src/roles/folder/piece_giver.ts";
import { identityFor } from "../../support/identities.ts";
import { untilHolds } from "../../support/rested.ts";

const PIECE = new Uint8Array(262_144);
const LIST = sha256(PIECE);
const hash = nameOfList(LIST);
const { peerId } = identityFor("phone");

Deno.test("PieceGiver serves what it is asked for while its last answers are on their way", async () => {
  const talk = new SlowTalk();
  const giver = new PieceGiver(contents, talk);
  const want = (...indices: number[]) => giver.want(peerId, [{ hash, indices }], false);
  want(0);
  await untilHolds(() => talk.given.length === 1, () => "the first answer");
  want(1);
  talk.takeAll();
  await untilHolds(() => talk.given.length === 2, () => "the second answer");
  talk.takeAll();
  await untilHolds(() => giver.idle, () => "the giver to be done");
  deepEqual(talk.given.map(indicesOf), [[0], [1]]);
});

Deno.test("PieceGiver has few answers on their way, and says what it lacks", async () => {
  const talk = new SlowTalk();
  const giver = new PieceGiver(contents, talk);
  giver.want(peerId, [{ hash, indices: Array.from({ length: 60 }, (_, i) => i) }], false);
  giver.want(peerId, [{ hash: "00".repeat(32), indices: [0] }], false);
  await untilHolds(() => talk.given.length === 6, () => "six answers");
  while (!giver.idle) {
    talk.takeAll();
    await untilHolds(() => giver.idle || talk.waiting > 0, () => "further answers");
  }
  deepEqual(talk.given.flatMap(indicesOf), Array.from({ length: 60 }, (_, i) => i));
  deepEqual(talk.given.at(-1), { kind: "lack", hashes: ["00".repeat(32)] });
});

Deno.test("PieceGiver misses no request, however close to its last answer it comes", async () => {
  for (let steps = 0; steps < 12; steps++) {
    const talk = new SlowTalk();
    const giver = new PieceGiver(contents, talk);
    giver.want(peerId, [{ hash, indices: [0] }], false);
    await untilHolds(() => talk.given.length === 1, () => "the first answer");
    talk.takeAll();
    for (let step = 0; step < steps; step++) await Promise.resolve();
    giver.want(peerId, [{ hash, indices: [1] }], false);
    await untilHolds(() => talk.given.length === 2, () => `an answer after ${steps} steps`);
    talk.takeAll();
    await untilHolds(() => giver.idle, () => "the giver to be done");
  }
});

const contents = {
  list: (name: string) => Promise.resolve(name === hash ? LIST : undefined),
  piece: (name: string) => Promise.resolve(name === hash ? PIECE : undefined),
};

/** Gives nothing before it is told to. */
class SlowTalk {
  closed = false;
  readonly given: FolderSaying[] = [];
  #waiting: (() => void)[] = [];

  get waiting(): number {
    return this.#waiting.length;
  }

  give(_peer: unknown, saying: FolderSaying): Promise<void> {
    this.given.push(saying);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  takeAll(): void {
    for (const take of this.#waiting.splice(0)) take();
  }
}

function indicesOf(saying: FolderSaying): number[] {
  return saying.kind === "pieces" ? saying.pieces.map(({ index }) => index) : [];
}
