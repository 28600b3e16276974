import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { type SignedPart, verifyBundle } from "../../../src/protocol/crypto/x3dh.ts";
import type { MailboxStatus } from "../../../src/protocol/forward_messages.ts";
import type { PrekeyPublish } from "../../../src/protocol/prekey_messages.ts";
import { Crash, PeerWorld } from "../../support/peer_world.ts";
import { DAY_MS, TestHost } from "../server/mailbox_scene.ts";

const NOTHING_LEFT: MailboxStatus = {
  storeId: new Uint8Array(16),
  oneTimePrekeysLeft: 0,
  signedPrekeyId: null,
  largestBody: 1_000_000,
  retentionSeconds: 7 * 86_400,
};

class Scene implements AsyncDisposable {
  constructor(readonly host: TestHost, public alice: PeerWorld) {}

  get prekeys(): PeerWorld["prekeys"] {
    return this.alice.prekeys;
  }

  /** What a mailbox with this status is given; fails when it is given nothing. */
  async publish(status: Partial<MailboxStatus> = {}): Promise<PrekeyPublish> {
    const publication = await this.prekeys.publication({ ...NOTHING_LEFT, ...status });
    if (!publication) throw new Error("Nothing was published");
    return publication;
  }

  /** The signed part, as whoever fetches it verifies it. */
  verified({ signedPart, signature }: PrekeyPublish): SignedPart {
    const { peerId } = this.alice;
    return verifyBundle({ peerId, signedPart, signature, nowMs: this.host.now() });
  }

  async restart(): Promise<void> {
    this.alice = await this.alice.reopen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.alice[Symbol.asyncDispose]();
  }
}

function prekeysTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`Prekeys ${name}`, async () => {
    const host = new TestHost();
    await using scene = new Scene(host, await PeerWorld.open("alice", host));
    await story(scene);
  });
}

prekeysTest("are published with private halves that survive a restart", async (scene) => {
  const publication = await scene.publish();
  const part = scene.verified(publication);
  equal(publication.replaceAll, true);
  equal(publication.oneTimePrekeys.length, 100);
  equal(part.expiry, (scene.host.now() + 30 * DAY_MS) / 1000);
  await scene.restart();
  deepEqual(scene.prekeys.signed(part.signedPrekeyId)?.publicKey, part.signedPrekey);
  for (const { id, publicKey } of publication.oneTimePrekeys) {
    deepEqual(scene.prekeys.oneTime(id)?.publicKey, publicKey);
  }
});

prekeysTest("are not published before their private halves are on disk", async (scene) => {
  for (const survived of [0, 1]) {
    scene.alice.commit.dieAfter(survived);
    await rejects(scene.publish(), Crash);
    await scene.restart();
  }
  const { oneTimePrekeys } = await scene.publish();
  const stored = (await scene.alice.records("prekey", "one-time")).map(([key]) => key[2]);
  deepEqual(stored, oneTimePrekeys.map(({ id }) => id));
});

prekeysTest("are replenished when a mailbox has few left", async (scene) => {
  const first = await scene.publish();
  const signedPrekeyId = scene.verified(first).signedPrekeyId;
  const status = { ...NOTHING_LEFT, signedPrekeyId };
  equal(await scene.prekeys.publication({ ...status, oneTimePrekeysLeft: 25 }), undefined);
  await scene.restart();
  const more = await scene.publish({ ...status, oneTimePrekeysLeft: 24 });
  equal(more.replaceAll, false);
  equal(more.oneTimePrekeys.length, 76);
  equal(scene.verified(more).signedPrekeyId, signedPrekeyId);
  const ids = [...first.oneTimePrekeys, ...more.oneTimePrekeys].map(({ id }) => id);
  equal(new Set([...ids, signedPrekeyId]).size, 177, "no number is used twice");
});

prekeysTest("replace what a mailbox holds that they do not know", async (scene) => {
  const first = await scene.publish();
  const unknown = scene.verified(first).signedPrekeyId + 1_000;
  const again = await scene.publish({ signedPrekeyId: unknown, oneTimePrekeysLeft: 80 });
  equal(again.replaceAll, true);
  equal(again.oneTimePrekeys.length, 100);
});

prekeysTest(
  "are renewed ten days before they expire, and the old one still opens",
  async (scene) => {
    const first = scene.verified(await scene.publish());
    const status = { signedPrekeyId: first.signedPrekeyId, oneTimePrekeysLeft: 100 };
    scene.host.pass(20 * DAY_MS - 1);
    equal(await scene.prekeys.publication({ ...NOTHING_LEFT, ...status }), undefined);
    scene.host.pass(1);
    const renewal = await scene.publish(status);
    const second = scene.verified(renewal);
    notEqual(second.signedPrekeyId, first.signedPrekeyId);
    equal(renewal.replaceAll, false, "the one-time keys stay good");
    deepEqual(renewal.oneTimePrekeys, []);

    // Expiry after 30 days, and twice the mailbox's 7 days on top.
    scene.host.pass(24 * DAY_MS);
    await scene.restart();
    deepEqual(scene.prekeys.signed(first.signedPrekeyId)?.publicKey, first.signedPrekey);
    scene.host.pass(1);
    equal(scene.prekeys.signed(first.signedPrekeyId), undefined);
    ok(scene.prekeys.signed(second.signedPrekeyId));
    await scene.publish({ signedPrekeyId: second.signedPrekeyId, oneTimePrekeysLeft: 100 });
    const kept = (await scene.alice.records("prekey", "signed")).map(([key]) => key[2]);
    ok(!kept.includes(first.signedPrekeyId), "its secret is gone from the disk");
  },
);

prekeysTest("keep old ones as long as a mailbox may hold what they open", async (scene) => {
  const first = scene.verified(await scene.publish({ retentionSeconds: 40 * 86_400 }));
  await scene.restart();
  scene.host.pass((30 + 80) * DAY_MS);
  ok(scene.prekeys.signed(first.signedPrekeyId));
  ok(scene.prekeys.seenFor >= (30 + 80) * DAY_MS, "ids are remembered longer than keys open");
  await scene.publish({ retentionSeconds: 10_000 * 86_400 });
  ok(scene.prekeys.seenFor < (30 + 2 * 90 + 2) * DAY_MS, "a mailbox cannot ask for any time");
});

prekeysTest("are given up all at once after a rollback", async (scene) => {
  const first = await scene.publish();
  const before = (await scene.alice.records("prekey", "one-time")).length;
  equal(before, 100);
  await scene.prekeys.replaceAll();
  await scene.restart();
  equal(scene.prekeys.signed(scene.verified(first).signedPrekeyId), undefined);
  for (const { id } of first.oneTimePrekeys) equal(scene.prekeys.oneTime(id), undefined);
  deepEqual(await scene.alice.records("prekey", "one-time"), []);
  deepEqual(await scene.alice.records("prekey", "signed"), []);
  const second = await scene.publish({ signedPrekeyId: scene.verified(first).signedPrekeyId });
  equal(second.replaceAll, true);
  const used = Math.max(...first.oneTimePrekeys.map(({ id }) => id));
  ok(second.oneTimePrekeys.every(({ id }) => id > used + 1_000), "far from numbers of lost time");
});

prekeysTest("get different numbers when two mailboxes are served at once", async (scene) => {
  const publications = await Promise.all([scene.publish(), scene.publish()]);
  const ids = publications.flatMap(({ oneTimePrekeys }) => oneTimePrekeys.map(({ id }) => id));
  equal(new Set(ids).size, 200);
  deepEqual(
    new Set(publications.map((each) => scene.verified(each).signedPrekeyId)).size,
    1,
    "one signed prekey is enough",
  );
});

prekeysTest("of one time are kept up to two thousand, the newest", async (scene) => {
  const publications: PrekeyPublish[] = [];
  for (let n = 0; n < 21; n++) publications.push(await scene.publish());
  const ids = publications.flatMap(({ oneTimePrekeys }) => oneTimePrekeys.map(({ id }) => id));
  const expected = ids.slice(100);
  deepEqual(ids.filter((id) => scene.prekeys.oneTime(id)), expected);
  deepEqual((await scene.alice.records("prekey", "one-time")).map(([key]) => key[2]), expected);
});
