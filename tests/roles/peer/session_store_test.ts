import { deepEqual, equal, notEqual, ok, rejects, throws } from "node:assert/strict";
import { u32, utf8 } from "../../../src/base/bytes.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";
import { initiateRatchet } from "../../../src/protocol/session/double_ratchet.ts";
import type { SkippedKey } from "../../../src/protocol/session/ratchet_state.ts";
import {
  chooseSession,
  MAX_SESSIONS,
  sealInSession,
  type Session,
} from "../../../src/protocol/session/session.ts";
import { SessionStore } from "../../../src/roles/peer/session_store.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { Crash, MortalCommit } from "../../support/peer_world.ts";

const [bob, carol] = [identityFor("bob").peerId, identityFor("carol").peerId];

class Scene {
  constructor(
    readonly kv: Deno.Kv,
    readonly commit: MortalCommit,
    readonly store: SessionStore,
  ) {}

  async keep(remote: PeerId, session: Session): Promise<void> {
    const { operations, apply } = this.store.step(remote, session);
    await this.commit.commit(operations);
    apply();
  }

  /** What a restart finds. */
  reopen(): Promise<SessionStore> {
    return SessionStore.open(this.kv, new MortalCommit(this.kv));
  }

  async partLengths(): Promise<number[]> {
    const entries = await Array.fromAsync(this.kv.list<Uint8Array>({ prefix: ["session"] }));
    return entries.map(({ value }) => value.length);
  }
}

function storeTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`SessionStore ${name}`, async () => {
    const kv = await Deno.openKv(":memory:");
    const commit = new MortalCommit(kv);
    await story(new Scene(kv, commit, await SessionStore.open(kv, commit)));
    await commit.close();
    kv.close();
  });
}

storeTest("keeps a session with two thousand skipped keys", async (scene) => {
  for (const chains of [1, 2_000]) {
    const session = { ...sessionOf("large"), ratchet: withSkipped(2_000, chains) };
    await scene.keep(bob, session);
    const lengths = await scene.partLengths();
    ok(lengths.length > 1 && lengths.every((length) => length <= 65_536), `${lengths}`);
    deepEqual((await scene.reopen()).get(bob, session.id), session);
  }
});

storeTest("leaves nothing behind when a session grows and shrinks", async (scene) => {
  const session = sessionOf("changing");
  const neighbour = { ...sessionOf("neighbour"), ratchet: withSkipped(2_000, 1) };
  await scene.keep(bob, neighbour);
  const sizes = [[0, 1], [2_000, 1], [2_000, 2_000], [1_000, 1], [2_000, 2_000], [0, 1]] as const;
  for (const [count, chains] of sizes) {
    const changed = { ...session, ratchet: withSkipped(count, chains) };
    await scene.keep(bob, changed);
    const later = await scene.reopen();
    deepEqual(later.get(bob, session.id), changed);
    deepEqual(later.get(bob, neighbour.id), neighbour);
    equal(later.list(bob).length, 2);
  }
  equal((await scene.partLengths()).length, 1 + 2);
});

storeTest("keeps the sessions of each remote apart", async (scene) => {
  const [one, two] = [sessionOf("one"), sessionOf("two")];
  await scene.keep(bob, one);
  await scene.keep(carol, { ...one, usedAt: 7 });
  await scene.keep(carol, two);
  const later = await scene.reopen();
  deepEqual(later.list(bob), [one]);
  deepEqual(later.get(carol, one.id)?.usedAt, 7);
  equal(later.get(bob, two.id), undefined);
  deepEqual(later.list(identityFor("dave").peerId), []);
});

storeTest(
  "takes a step over in memory only when its owner says that it is durable",
  async (scene) => {
    const before = sessionOf("one");
    await scene.keep(bob, before);
    const { operations, apply } = scene.store.step(bob, { ...before, unanswered: 1 });
    await scene.commit.commit(operations);
    equal(scene.store.get(bob, before.id)?.unanswered, 0);
    apply();
    equal(scene.store.get(bob, before.id)?.unanswered, 1);
  },
);

storeTest("keeps sixty-four sessions with a remote, the ones used last", async (scene) => {
  const sessions = Array.from({ length: MAX_SESSIONS }, (_, n) => ({
    ...sessionOf(`session ${n}`),
    usedAt: n === 10 ? 0 : 1_000 + n,
  }));
  for (const session of sessions) await scene.keep(bob, session);
  await scene.keep(bob, { ...sessions[63]!, unanswered: 5 });
  equal(scene.store.list(bob).length, 64, "a step of a known session pushes none out");

  const dying = { ...sessionOf("newest"), usedAt: 5_000 };
  const { operations } = scene.store.step(bob, dying);
  scene.commit.dieAfter(0);
  await rejects(scene.commit.commit(operations), Crash);
  ok(scene.store.get(bob, sessions[10]!.id), "nothing goes before the commit is durable");
  scene.commit.dieAfter(Infinity);

  await scene.keep(bob, dying);
  for (const store of [scene.store, await scene.reopen()]) {
    equal(store.list(bob).length, 64);
    equal(store.get(bob, sessions[10]!.id), undefined);
    deepEqual(store.get(bob, dying.id), dying);
  }
});

storeTest(
  "encrypts again to the same bytes after a step that did not become durable",
  async (scene) => {
    const session = { ...sessionOf("one"), ratchet: withSkipped(0, 1) };
    await scene.keep(bob, session);
    const first = sealInSession(scene.store.get(bob, session.id)!, utf8("hello"), 1);
    throws(() => sealInSession(scene.store.get(bob, session.id)!, utf8("other"), 1), TypeError);
    scene.store.revert(bob, session.id);
    const second = sealInSession(scene.store.get(bob, session.id)!, utf8("hello"), 1);
    deepEqual(second.body, first.body);
    scene.store.revert(carol, session.id);
  },
);

storeTest("never encrypts in a retired session again, even after a restart", async (scene) => {
  const [one, two] = [sessionOf("one"), sessionOf("two")];
  await scene.keep(bob, one);
  await scene.keep(bob, two);
  await scene.keep(carol, one);
  await scene.store.locked(bob, () => scene.store.retire(bob));
  for (const store of [scene.store, await scene.reopen()]) {
    equal(chooseSession(store.list(bob)), undefined);
    equal(store.list(bob).length, 2, "they still receive");
    deepEqual(chooseSession(store.list(carol))?.id, one.id);
  }
  await scene.store.retireAll();
  for (const store of [scene.store, await scene.reopen()]) {
    equal(chooseSession(store.list(carol)), undefined);
  }
});

storeTest("retires a session of which a step is under way", async (scene) => {
  const session = sessionOf("one");
  await scene.keep(bob, session);
  const opened = Promise.withResolvers<void>();
  const step = scene.store.locked(bob, async () => {
    const known = scene.store.get(bob, session.id)!;
    await opened.promise;
    await scene.keep(bob, { ...known, usedAt: 77 });
  });
  const retired = scene.store.retireAll();
  opened.resolve();
  await Promise.all([step, retired]);
  for (const store of [scene.store, await scene.reopen()]) {
    equal(store.get(bob, session.id)?.retired, true);
    equal(store.get(bob, session.id)?.usedAt, 77, "what the step did is not lost");
  }
});

storeTest(
  "runs the steps with one remote in order, also behind one that fails",
  async ({ store }) => {
    const gate = Promise.withResolvers<void>();
    const order: string[] = [];
    const first = store.locked(bob, async () => {
      await gate.promise;
      order.push("first");
      throw new Error("first failed");
    });
    const second = store.locked(bob, () => Promise.resolve(order.push("second")));
    await store.locked(carol, () => Promise.resolve(order.push("carol")));
    deepEqual(order, ["carol"], "another remote does not wait");
    gate.resolve();
    await rejects(first, /first failed/);
    await second;
    deepEqual(order, ["carol", "first", "second"]);
  },
);

function sessionOf(label: string): Session {
  return {
    id: bytesFor(label).slice(0, 16),
    ratchet: withSkipped(3, 2),
    x3dh: undefined,
    unanswered: 0,
    retired: false,
    usedAt: 1,
  };
}

/** A state that can send, with `count` keys kept of `chains` chains. */
function withSkipped(count: number, chains: number): Session["ratchet"] {
  const pair = x25519KeyPair(bytesFor("ratchet pair"));
  const remote = x25519KeyPair(bytesFor("remote pair"));
  const perChain = Math.ceil(count / chains);
  const skipped = Array.from({ length: count }, (_, n): SkippedKey => ({
    publicKey: bytesFor(`chain ${Math.floor(n / perChain)}`),
    number: n % perChain,
    messageKey: bytesFor(`key ${u32(n)}`),
  }));
  const state = initiateRatchet(bytesFor("secret"), remote.publicKey, pair);
  notEqual(state.sendChain, undefined);
  return { ...state, skipped };
}
