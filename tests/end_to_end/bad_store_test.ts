/** Damage of a store that shows only when what is damaged is read. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { CairnError } from "../../src/base/errors.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import type { MailboxDesk } from "../../src/roles/server/mailbox_desk.ts";
import { openDesk, peer, request, TestHost } from "../roles/server/mailbox_scene.ts";
import { within } from "../support/deadline.ts";
import { copyFolder } from "../support/folder_copies.ts";
import { Garbage } from "../support/garbage.ts";
import {
  contents,
  editStore,
  replaceValue,
  startOn,
  usedFolder,
  valuesBelow,
} from "./bad_folders.ts";
import { BadInputScene, badInputTest, eventually, sentenceOf, textsOf } from "./bad_input_scene.ts";

const RECORDS = {
  server: [["identity"], ["pairing"], ["mailbox", "waiting"], ["mailbox", "pair"], [
    "prekeys",
    "bundle",
  ]],
  peer: [["identity"], ["pairing"], ["session"], ["prekey", "signed"], ["outbox"], ["wire"]],
} as const;

for (const kind of ["server", "peer"] as const) {
  badInputTest({
    name: `A ${kind} one of whose records is damaged refuses to start and loses nothing`,
    async story(scene) {
      const folder = await usedFolder(scene, kind);
      for (const key of RECORDS[kind]) {
        const [value] = valuesBelow(folder, ...key);
        ok(value, `no record ${key}`);
        const damaged = value.slice();
        // A flipped bit makes a key another key, and most records something that cannot be read.
        if (key[0] === "identity") damaged[20] = damaged[20]! ^ 1;
        else damaged.fill(0xa5, 0, 8);
        replaceValue(folder, value, damaged);
        const before = records(folder);
        match(
          sentenceOf(await startOn(scene, kind, folder)),
          /^Cannot open .*\/cairn\.kv: it is damaged\. .*Restore the folder from a backup/,
          key.join(),
        );
        deepEqual(records(folder), before, key.join());
        replaceValue(folder, damaged, value);
      }
      if (kind === "peer") equal((await startOn(scene, kind, folder)).code, 0);
      else await (await scene.server(folder)).assertHealthy();
    },
  });
}

badInputTest({
  name: "Messages that were damaged in the mailbox are reported and sent again, the others come",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    const server = await scene.server(folder);
    const { alice, bob } = await scene.paired(server, "alice", "bob");
    const bobId = await bob.id();
    const texts = [
      "one",
      "two",
      "three",
      "four".padEnd(70_000, "."),
      "five",
      "six".padEnd(5_000, "."),
    ];
    for (const text of texts) await alice.sends(bobId, text);
    await scene.stop(server.process);
    // "two" at its end, the second part of "four" away, the body of "six" not to be read at all.
    const [, two] = valuesBelow(folder, "mailbox", "waiting");
    const [six] = valuesBelow(folder, "mailbox", "body");
    const [, part] = valuesBelow(folder, "mailbox", "blob", "part");
    ok(two && six && part);
    replaceValue(folder, two, two.with(-1, two.at(-1)! ^ 0x10));
    editStore(folder, "DELETE FROM kv WHERE v = ?", part);
    editStore(folder, "UPDATE kv SET v_encoding = 1 WHERE v = ?", six);

    const restarted = await scene.server(folder);
    alice.server = bob.server = restarted;
    const reader = bob.listen();
    for (let reported = 0; reported < 3; reported++) {
      await scene.logged(restarted.process, /stored message is damaged; its sender is asked to/);
    }
    const sender = alice.listen();
    const came = textsOf(await reader.output.first(texts.length));
    for (const running of [reader, sender]) await scene.stop(running);
    deepEqual(came.toSorted(), texts.toSorted(), "each of them once");
    // The last purge left with its reader; the server may still have to read it.
    await eventually(
      scene.deadline,
      () => restarted.queues(),
      (queues) => Object.keys(queues).length === 0,
    );
  },
});

Deno.test("A mailbox with flipped bits is refused unchanged, or delivers all that is not damaged", async () => {
  await using scene = await BadInputScene.open(240);
  const garbage = new Garbage("flipped bits");
  const [alice, bob] = [peer("alice"), peer("bob")];
  const original = `${scene.folder}/original`;
  const bodies = new Set<string>();
  await withDesk(original, async (desk) => {
    for (let n = 1; n <= 20; n++) {
      const body = garbage.bytes(n % 4 === 0 ? 70_000 : 400 + n);
      bodies.add(toHex(body));
      ok((await desk.forward(alice, request(bob, n, body))).accepted);
    }
  });
  const outcomes = { refused: 0, complete: 0, incomplete: 0 };
  for (let run = 0; run < 100; run++) {
    const folder = `${scene.folder}/flipped`;
    await copyFolder(original, folder);
    const flips = 1 + garbage.below(4);
    await flipBits(`${folder}/cairn.kv`, garbage, flips);
    const before = await contents(folder);
    try {
      await withDesk(folder, async (desk) => {
        const { whole, altered } = await deliveries(desk, bob, bodies, scene.deadline);
        ok(whole >= bodies.size - flips && altered <= flips, `run ${run}: ${whole} and ${altered}`);
        outcomes[whole === bodies.size ? "complete" : "incomplete"]++;
      });
    } catch (error) {
      if (!(error instanceof CairnError)) throw new Error(`run ${run}`, { cause: error });
      equal(error.code, "data-folder-corrupt", error.message);
      // A bit of the id by which the folder knows its store may be among them.
      match(
        error.message,
        /(it is damaged|belongs to another folder .*)\. Nothing was changed\. Restore/,
      );
      deepEqual(Object.keys(await contents(folder)), Object.keys(before));
      outcomes.refused++;
    }
    await Deno.remove(folder, { recursive: true });
  }
  ok(Object.values(outcomes).every((count) => count > 0), JSON.stringify(outcomes));
});

/** Opens the mailbox of a folder. */
async function withDesk(folder: string, use: (desk: MailboxDesk) => Promise<void>): Promise<void> {
  const opened = await openDataFolder({ path: folder, kind: "server", host: new TestHost() });
  try {
    const scene = await openDesk(opened, new TestHost());
    try {
      await use(scene.desk);
    } finally {
      await scene.close();
    }
  } finally {
    await opened.close();
  }
}

/** Takes everything that waits: how many bodies are as they were handed in, and how many are not. */
async function deliveries(
  desk: MailboxDesk,
  recipient: PeerId,
  bodies: ReadonlySet<string>,
  deadline: AbortSignal,
): Promise<{ whole: number; altered: number }> {
  const counts = { whole: 0, altered: 0 };
  const drained = Promise.withResolvers<void>();
  const attachment = desk.attach(recipient, {
    deliver({ msgId, encryptedPayload }) {
      counts[bodies.has(toHex(encryptedPayload)) ? "whole" : "altered"]++;
      attachment.purge([msgId.slice()], []).catch(drained.reject);
    },
    drained: () => drained.resolve(),
    congested: false,
  });
  await within(deadline, drained.promise, () => `the rest after ${JSON.stringify(counts)}`);
  attachment.detach();
  return counts;
}

async function flipBits(path: string, garbage: Garbage, flips: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  for (let flip = 0; flip < flips; flip++) {
    const at = garbage.below(bytes.length);
    bytes[at] = bytes[at]! ^ 1 << garbage.below(8);
  }
  await Deno.writeFile(path, bytes);
}

/** All records but those that count the openings of the store. */
function records(folder: string): Record<string, unknown>[] {
  return editStore(
    folder,
    "SELECT hex(k) AS k, hex(v) AS v, v_encoding FROM kv " +
      "WHERE instr(hex(k), hex('meta')) = 0 AND instr(hex(k), hex('runs')) = 0 ORDER BY k",
  );
}
