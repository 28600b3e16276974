import { deepEqual, equal, rejects } from "node:assert/strict";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { PeerBook } from "../../src/roles/peer_book.ts";
import { bytesFor, identityFor } from "../support/identities.ts";
import { Crash, MortalCommit } from "../support/peer_world.ts";

const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];

class Scene {
  readonly changes: string[] = [];

  constructor(readonly kv: Deno.Kv, readonly commit: MortalCommit, readonly book: PeerBook) {
    book.onChange = (peerId) => this.changes.push(peerId.toString());
  }

  pair(peerId: PeerId, secret: string): Promise<void> {
    const pairedAt = 1_000;
    return this.book.pair({ peerId, mechanism: "psk", pairedAt, secret: bytesFor(secret) });
  }

  /** What a restart finds. */
  reopen(): Promise<PeerBook> {
    return PeerBook.open(this.kv, this.commit);
  }
}

function bookTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`PeerBook ${name}`, async () => {
    const kv = await Deno.openKv(":memory:");
    const commit = new MortalCommit(kv);
    await story(new Scene(kv, commit, await PeerBook.open(kv, commit)));
    await commit.close();
    kv.close();
  });
}

bookTest("remembers pairings through a restart", async (scene) => {
  await scene.pair(alice, "secret");
  await scene.book.seen(alice, 5_000, "ws://192.0.2.7/link");
  for (const book of [scene.book, await scene.reopen()]) {
    deepEqual(book.list(), [{
      peerId: alice,
      mechanism: "psk",
      pairedAt: 1_000,
      secret: bytesFor("secret"),
      previousSecrets: [],
      unacknowledged: false,
      signalServers: [],
      urls: ["ws://192.0.2.7/link"],
      lastSeen: 5_000,
    }]);
    equal(book.has(bob), false);
    equal(book.get(bob), undefined);
  }
});

bookTest("keeps the secret before until the new one was used", async (scene) => {
  await scene.pair(alice, "first");
  await scene.book.seen(alice, 2_000, "ws://192.0.2.7/link");
  await scene.pair(alice, "second");
  await scene.book.seen(alice, 3_000);
  for (const book of [scene.book, await scene.reopen()]) {
    const { secret, previousSecrets, urls } = book.get(alice)!;
    deepEqual([secret, ...previousSecrets], [bytesFor("second"), bytesFor("first")]);
    deepEqual(urls, ["ws://192.0.2.7/link"], "the way to it stays known");
  }
  await scene.book.seen(alice, 4_000, undefined, true);
  for (const book of [scene.book, await scene.reopen()]) {
    deepEqual(book.get(alice)?.previousSecrets, []);
    deepEqual(book.get(alice)?.secret, bytesFor("second"));
  }
});

bookTest(
  "keeps the secret that is surely in use through any number of re-pairings",
  async (scene) => {
    for (const secret of ["first", "second", "third", "fourth", "fifth", "sixth"]) {
      await scene.pair(alice, secret);
    }
    for (const book of [scene.book, await scene.reopen()]) {
      const { secret, previousSecrets } = book.get(alice)!;
      const kept = ["sixth", "fifth", "fourth", "third", "first"];
      deepEqual([secret, ...previousSecrets], kept.map(bytesFor));
    }
  },
);

bookTest("knows who has not said yet that it has its secret", async (scene) => {
  const secret = bytesFor("secret");
  const signalServers = ["ws://signal.test"];
  await scene.book.pair({
    peerId: alice,
    mechanism: "approved",
    pairedAt: 1_000,
    secret,
    unacknowledged: true,
    signalServers,
  });
  deepEqual((await scene.reopen()).get(alice)?.signalServers, signalServers);
  equal((await scene.reopen()).get(alice)?.unacknowledged, true);
  await scene.book.seen(alice, 2_000);
  equal(scene.book.get(alice)?.unacknowledged, true);
  await scene.book.seen(alice, 2_000, undefined, true);
  equal((await scene.reopen()).get(alice)?.unacknowledged, false);
});

bookTest("reads what the first releases wrote", async (scene) => {
  await scene.kv.set(["pairing", alice.toString()], {
    mechanism: "psk",
    pairedAt: 1_000,
    secret: bytesFor("second"),
    previousSecret: bytesFor("first"),
    urls: [],
    lastSeen: 0,
  });
  deepEqual((await scene.reopen()).get(alice), {
    peerId: alice,
    mechanism: "psk",
    pairedAt: 1_000,
    secret: bytesFor("second"),
    previousSecrets: [bytesFor("first")],
    unacknowledged: false,
    signalServers: [],
    urls: [],
    lastSeen: 0,
  });
});

bookTest("keeps sixteen addresses, the latest first", async (scene) => {
  await scene.pair(alice, "secret");
  for (let n = 0; n < 20; n++) await scene.book.seen(alice, n, `ws://192.0.2.${n}/link`);
  await scene.book.seen(alice, 20, "ws://192.0.2.10/link");
  const { urls } = scene.book.get(alice)!;
  equal(urls.length, 16);
  equal(new Set(urls).size, 16);
  deepEqual(urls.slice(0, 3), [
    "ws://192.0.2.10/link",
    "ws://192.0.2.19/link",
    "ws://192.0.2.18/link",
  ]);
});

bookTest("tells of new secrets and removals, and of nothing else", async (scene) => {
  await scene.pair(alice, "first");
  await scene.book.seen(alice, 2_000, "ws://192.0.2.7/link");
  await scene.book.seen(alice, 2_000, undefined, true);
  equal(scene.changes.length, 1);
  await scene.pair(alice, "second");
  await scene.book.seen(alice, 3_000, undefined, true);
  await scene.book.seen(alice, 3_000, undefined, true);
  equal(scene.changes.length, 3);
  await scene.book.remove(alice);
  await scene.book.seen(alice, 4_000, undefined, true);
  deepEqual(scene.changes, [alice, alice, alice, alice].map(String));
});

bookTest("forgets a removed peer, whatever else was being noted of it", async (scene) => {
  await scene.pair(alice, "secret");
  await scene.pair(bob, "secret");
  await Promise.all([
    scene.book.seen(alice, 2_000),
    scene.book.remove(alice),
    scene.book.seen(alice, 3_000, "ws://192.0.2.7/link"),
  ]);
  for (const book of [scene.book, await scene.reopen()]) {
    deepEqual(book.list().map(({ peerId }) => peerId.toString()), [bob.toString()]);
  }
});

bookTest("keeps a new secret, whatever else was being noted of its peer", async (scene) => {
  await scene.pair(alice, "first");
  await Promise.all([
    scene.book.seen(alice, 2_000, undefined, true),
    scene.pair(alice, "second"),
    scene.book.seen(alice, 3_000),
    scene.pair(alice, "third"),
    scene.book.seen(alice, 4_000, "ws://192.0.2.7/link"),
  ]);
  for (const book of [scene.book, await scene.reopen()]) {
    const { secret, previousSecrets, lastSeen } = book.get(alice)!;
    deepEqual([secret, ...previousSecrets], ["third", "second", "first"].map(bytesFor));
    equal(lastSeen, 4_000);
  }
});

bookTest("records nothing that is not on disk", async (scene) => {
  await scene.pair(alice, "first");
  scene.changes.length = 0;
  scene.commit.dieAfter(0);
  await rejects(scene.pair(alice, "second"), Crash);
  await rejects(scene.pair(bob, "secret"), Crash);
  await rejects(scene.book.remove(alice), Crash);
  await scene.book.seen(alice, 9_000);
  scene.commit.dieAfter(Infinity);
  deepEqual(scene.changes, []);
  deepEqual(scene.book.list(), (await scene.reopen()).list());
  deepEqual(scene.book.get(alice)?.secret, bytesFor("first"));
  equal(scene.book.get(alice)?.lastSeen, 0);
  await scene.pair(bob, "secret");
  equal(scene.book.has(bob), true, "and goes on");
});
