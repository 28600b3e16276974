import { untilHolds } from "../../support/rested.ts";
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { CairnError } from "../../../src/base/errors.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { GroupCommit } from "../../../src/roles/group_commit.ts";
import { AskingPeers } from "../../../src/roles/server/asking_peers.ts";
import type { PairingEvent } from "../../../src/roles/server/pairing_control.ts";
import { TestHost } from "../server/mailbox_scene.ts";
import { type Joiner, PairingScene, peerIdFor } from "./pairing_scene.ts";

const HOUR = 3_600_000;

/** A peer that asks, and the digits that it shows. */
interface Asked {
  readonly codes: string[];
  readonly pairing: Promise<unknown>;
  readonly giveUp: AbortController;
}

function askTest(
  name: string,
  story: (scene: PairingScene, alice: Joiner) => Promise<void>,
): void {
  Deno.test(`Asking to be paired ${name}`, async () => {
    await using scene = await PairingScene.open();
    await story(scene, await scene.joiner("alice"));
  });
}

askTest("shows both sides one code and waits for the operator", async (scene, alice) => {
  const { operator } = scene.server;
  const events: PairingEvent[] = [];
  operator.subscribe((event) => events.push(event));
  const asked = await ask(scene, alice);
  const [request] = operator.requests();
  match(request?.sas ?? "", /^\d{6}$/);
  deepEqual(asked.codes, [request?.sas]);
  equal(request?.connected, true);
  equal(scene.server.book.has(alice.peerId), false);

  await scene.server.time.elapse(2 * HOUR);
  await operator.approve(alice.peerId);
  await scene.during(asked.pairing);
  deepEqual(alice.secrets().ours, alice.secrets().theirs);
  equal(alice.book.get(scene.server.peerId)?.mechanism, "approved");
  const isAcknowledged = () => scene.server.book.get(alice.peerId)?.unacknowledged === false;
  await untilHolds(isAcknowledged, () => "the secret is acknowledged");
  deepEqual(operator.requests(), []);
  deepEqual(events.map(({ kind }) => kind), ["requested", "approved", "paired"]);
});

askTest(
  "outlives the link: who is approved meanwhile is paired when it comes back",
  async (scene, alice) => {
    const asked = await ask(scene, alice);
    asked.giveUp.abort();
    await rejects(asked.pairing, CairnError);
    await scene.server.settle();
    deepEqual(scene.server.operator.requests().map(({ connected }) => connected), [false]);
    await scene.server.operator.approve(alice.peerId);
    await scene.during(alice.pair({
      mechanism: "ask",
      acceptor: scene.server.peerId,
      onSas: () => {
        throw new Error("There is nothing to compare any more");
      },
    }));
    deepEqual(alice.secrets().ours, alice.secrets().theirs);
  },
);

askTest("goes on by itself over another link when the first is lost", async (scene, alice) => {
  const asked = await ask(scene, alice);
  scene.server.pairing.close();
  await scene.server.settle();
  scene.server.time.pass(2_000);
  await scene.server.settle();
  equal(asked.codes.length, 2);
  deepEqual(scene.server.operator.requests().map(({ sas }) => sas), asked.codes.slice(1));
  await scene.server.operator.approve(alice.peerId);
  await scene.during(asked.pairing);
});

askTest("is told when the operator refuses", async (scene, alice) => {
  const asked = await ask(scene, alice);
  equal(scene.server.operator.refuse(alice.peerId), true);
  await fails(
    scene.during(asked.pairing),
    /operator of the other side has turned the request down/,
  );
  equal(scene.server.operator.refuse(alice.peerId), false);
  equal(scene.server.book.has(alice.peerId), false);
});

askTest("counts with the code of the latest link", async (scene, alice) => {
  const first = await ask(scene, alice);
  const second = await ask(scene, alice);
  await fails(scene.during(first.pairing), /replaced/);
  deepEqual(scene.server.operator.requests().map(({ sas }) => sas), second.codes);
  second.giveUp.abort();
  await rejects(second.pairing, CairnError);
});

askTest(
  "outlives the server: its next run has the request, unless it was settled",
  async (scene, alice) => {
    const { server } = scene;
    const asked = await ask(scene, alice);
    const [before] = server.operator.requests();
    const reopened = await reopen(scene);
    const [after] = reopened.list(server.time.monotonic());
    deepEqual([after?.sas, after?.requestedAt], [before?.sas, before?.requestedAt]);
    equal(after?.at, undefined, "there is no link any more");
    deepEqual((await reopen(scene, (peer) => peer.equals(alice.peerId))).list(0), []);
    await server.settle();
    deepEqual((await reopen(scene)).list(0), [], "and who was approved meanwhile is forgotten");
    asked.giveUp.abort();
    await rejects(asked.pairing, CairnError);
  },
);

askTest("is forgotten for good when it is refused", async (scene, alice) => {
  const asked = await ask(scene, alice);
  scene.server.operator.refuse(alice.peerId);
  await rejects(asked.pairing, CairnError);
  await scene.server.settle();
  deepEqual((await reopen(scene)).list(0), []);
});

askTest("of an earlier run ends a day after it was asked", async (scene, alice) => {
  const { time } = scene.server;
  const asked = await ask(scene, alice);
  asked.giveUp.abort();
  await rejects(asked.pairing, CairnError);
  await time.elapse(23 * HOUR);
  const reopened = await reopen(scene);
  equal(reopened.list(time.monotonic()).length, 1);
  await time.elapse(1 * HOUR);
  deepEqual(reopened.list(time.monotonic()), []);
  deepEqual((await reopen(scene)).list(time.monotonic()), []);
});

Deno.test("Requests in the store that are damaged, or too many, are forgotten", async () => {
  using kv = await Deno.openKv(":memory:");
  const commit = new GroupCommit(kv);
  const host = new TestHost();
  for (let n = 0; n < 70; n++) {
    const requestedAt = host.now() - n;
    await kv.set(["asking", peerIdFor(`stranger ${n}`).toString()], { sas: "042137", requestedAt });
  }
  const unreadable: unknown[] = [null, 7, {}, { sas: "042137" }, { sas: 42137, requestedAt: 0 }];
  for (const [n, value] of unreadable.entries()) {
    await kv.set(["asking", peerIdFor(`damaged ${n}`).toString()], value);
  }
  await kv.set(["asking", "somebody"], { sas: "042137", requestedAt: host.now() });
  const asking = await AskingPeers.open(kv, commit, { host, isSettled: () => false });
  const waiting = asking.list(host.monotonic()).map(({ peerId }) => peerId.toString());
  equal(waiting.length, 64);
  equal(waiting.at(-1), peerIdFor("stranger 0").toString(), "the latest stay");
  await commit.close();
  equal((await Array.fromAsync(kv.list({ prefix: ["asking"] }))).length, 64);
});

askTest("ends after a day", async (scene, alice) => {
  const asked = await ask(scene, alice);
  asked.giveUp.abort();
  await rejects(asked.pairing, CairnError);
  await scene.server.time.elapse(24 * HOUR);
  deepEqual(scene.server.operator.requests(), []);
});

askTest(
  "ends after a day for who is still there, too, who then asks again",
  async (scene, alice) => {
    const asked = await ask(scene, alice);
    await scene.server.time.elapse(24 * HOUR);
    deepEqual(scene.server.operator.requests(), []);
    await scene.server.settle();
    await scene.server.time.elapse(20_000);
    await scene.server.settle();
    equal(asked.codes.length, 2, "the link that had no time limit was closed");
    asked.giveUp.abort();
    await rejects(asked.pairing, CairnError);
  },
);

askTest(
  "waits in a list of sixty-four, from which strangers that went are dropped first",
  async (scene, alice) => {
    const waiting = await ask(scene, alice);
    const gone: Joiner[] = [];
    for (let n = 0; n < 64; n++) {
      // One challenge in ten seconds is all that there is once the first sixty are used up.
      await scene.server.time.elapse(10_000);
      const stranger = await scene.joiner(`stranger ${n}`);
      const asked = await ask(scene, stranger);
      asked.giveUp.abort();
      await rejects(asked.pairing, CairnError);
      await scene.server.settle();
      gone.push(stranger);
    }
    const requests = scene.server.operator.requests();
    equal(requests.length, 64);
    ok(requests.some(({ peerId }) => peerId.equals(alice.peerId)), "who still waits stays");
    equal(requests.some(({ peerId }) => peerId.equals(gone[0]!.peerId)), false);
    waiting.giveUp.abort();
    await rejects(waiting.pairing, CairnError);
  },
);

askTest("cannot be hurried: codes are given out slowly", async (scene) => {
  const mallory = await scene.joiner("mallory");
  const asks: Asked[] = [];
  for (let n = 0; n < 20; n++) asks.push(await ask(scene, mallory));
  for (const { giveUp } of asks) giveUp.abort();
  await Promise.allSettled(asks.map(({ pairing }) => pairing));
  const one = scene.during(mallory.pair({
    mechanism: "ask",
    acceptor: scene.server.peerId,
    onSas: () => {},
  }));
  await fails(one, /Too many pairing attempts/);
});

/** Asks, and goes on when the code is there. */
async function ask(scene: PairingScene, joiner: Joiner): Promise<Asked> {
  const codes: string[] = [];
  const giveUp = new AbortController();
  const pairing = joiner.pair({
    mechanism: "ask",
    acceptor: scene.server.peerId,
    onSas: (sas) => codes.push(sas),
  }, { signal: giveUp.signal });
  pairing.catch(() => {});
  await scene.server.settle();
  equal(codes.length, 1, "there is a code");
  return { codes, pairing, giveUp };
}

/** The list as the next run of the server finds it. */
function reopen(
  { server: { kv, commit, time } }: PairingScene,
  isSettled: (peerId: PeerId) => boolean = () => false,
): Promise<AskingPeers> {
  return AskingPeers.open(kv, commit, { host: time, isSettled });
}

async function fails(attempt: Promise<unknown>, sentence: RegExp): Promise<void> {
  await rejects(attempt, (error) => {
    ok(error instanceof CairnError, String(error));
    match(error.message, sentence);
    return true;
  });
}
