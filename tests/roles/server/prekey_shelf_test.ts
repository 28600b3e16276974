import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { ProtocolError } from "../../../src/base/errors.ts";
import type { OneTimePrekey, PrekeyPublish } from "../../../src/protocol/prekey_messages.ts";
import { GroupCommit } from "../../../src/roles/group_commit.ts";
import { PrekeyShelf } from "../../../src/roles/server/prekey_shelf.ts";
import { bytesFor, identityFor, prekeysFor } from "../../support/identities.ts";
import { DAY_MS, peer, TestHost } from "./mailbox_scene.ts";

const bob = identityFor("bob").peerId;
const [alice, carol] = [peer("alice"), peer("carol")];

interface Shop {
  readonly kv: Deno.Kv;
  readonly host: TestHost;
  readonly shelf: PrekeyShelf;
  /** The same shelf after a restart. */
  reopen(): Promise<PrekeyShelf>;
}

function shelfTest(name: string, story: (shop: Shop) => Promise<void>): void {
  Deno.test(`PrekeyShelf ${name}`, async () => {
    const kv = await Deno.openKv(":memory:");
    const commit = new GroupCommit(kv);
    const host = new TestHost();
    const reopen = () => PrekeyShelf.open({ kv, commit, host });
    await story({ kv, host, shelf: await reopen(), reopen });
    await commit.close();
    kv.close();
  });
}

shelfTest("hands out each one-time key once, even through restarts", async (shop) => {
  await shop.shelf.publish(bob, publication(shop.host, keys(1, 8)));
  deepStrictEqual(shop.shelf.status(bob), { oneTimeLeft: 8, signedPrekeyId: 7 });
  const fetched = await Promise.all([1, 2, 3, 4].map(() => shop.shelf.fetch(alice, bob)));
  const later = await shop.reopen();
  for (let n = 0; n < 4; n++) fetched.push(await later.fetch(carol, bob));
  const out = await later.fetch(carol, bob);

  const ids = fetched.map(({ oneTimePrekey }) => oneTimePrekey!.id);
  deepStrictEqual(ids.toSorted(), [1, 2, 3, 4, 5, 6, 7, 8]);
  for (const { oneTimePrekey, signedPart, signature, reason } of fetched) {
    deepStrictEqual(oneTimePrekey!.publicKey, keyOf(oneTimePrekey!.id).publicKey);
    const expected = prekeysFor("bob", shop.host.now());
    deepStrictEqual([signedPart, signature, reason], [
      expected.signedPart,
      expected.signature,
      null,
    ]);
  }
  strictEqual(out.oneTimePrekey, null);
  strictEqual(out.reason, null);
  deepStrictEqual(later.status(bob), { oneTimeLeft: 0, signedPrekeyId: 7 });
});

shelfTest("does not take a key back in that was given out", async (shop) => {
  await shop.shelf.publish(bob, publication(shop.host, keys(1, 3)));
  await shop.shelf.fetch(alice, bob);
  const later = await shop.reopen();
  await later.publish(bob, publication(shop.host, keys(1, 4)));
  strictEqual(later.status(bob).oneTimeLeft, 3);
  await later.publish(bob, publication(shop.host, keys(1, 4), true));
  strictEqual(later.status(bob).oneTimeLeft, 4);
  strictEqual((await shop.reopen()).status(bob).oneTimeLeft, 4);
});

shelfTest("keeps at most two hundred one-time keys of a peer", async (shop) => {
  await shop.shelf.publish(bob, publication(shop.host, keys(1, 150)));
  await shop.shelf.publish(bob, publication(shop.host, keys(151, 100)));
  strictEqual(shop.shelf.status(bob).oneTimeLeft, 200);
  strictEqual((await shop.reopen()).status(bob).oneTimeLeft, 200);
});

shelfTest("refuses a bundle that its peer did not sign, or that has expired", async (shop) => {
  const { shelf, host } = shop;
  const good = publication(host, keys(1, 1));
  const signature = good.signature.slice();
  signature[0]! ^= 1;
  await rejects(shelf.publish(bob, { ...good, signature }), ProtocolError);
  await rejects(shelf.publish(alice, good), ProtocolError);
  host.pass(2 * DAY_MS);
  await rejects(shelf.publish(bob, good), ProtocolError);
  deepStrictEqual(shelf.status(bob), { oneTimeLeft: 0, signedPrekeyId: null });
});

shelfTest("says why there is no bundle", async ({ shelf, host }) => {
  strictEqual((await shelf.fetch(alice, bob)).reason, "the peer has published no prekeys");
  await shelf.publish(bob, publication(host, keys(1, 1)));
  host.pass(2 * DAY_MS);
  const expired = await shelf.fetch(alice, bob);
  deepStrictEqual(
    [expired.reason, expired.signedPart, expired.oneTimePrekey],
    ["the prekeys of the peer have expired", null, null],
  );
  strictEqual(shelf.status(bob).oneTimeLeft, 1);
});

shelfTest("limits how fast one requester fetches, and how many keys of one peer", async (shop) => {
  const { shelf, host } = shop;
  await shelf.publish(bob, publication(host, keys(1, 100)));
  const bundles = [];
  for (let n = 0; n < 61; n++) bundles.push(await shelf.fetch(alice, bob));
  strictEqual(bundles.filter(({ oneTimePrekey }) => oneTimePrekey !== null).length, 10);
  strictEqual(bundles.filter(({ signedPart }) => signedPart !== null).length, 60);
  strictEqual(bundles[60]!.reason, "too many requests, try again in a minute");
  strictEqual((await shelf.fetch(carol, bob)).oneTimePrekey?.id, 11);
  host.pass(360_000);
  strictEqual((await shelf.fetch(alice, bob)).oneTimePrekey?.id, 12);
  strictEqual((await shelf.fetch(alice, bob)).oneTimePrekey, null);
});

shelfTest("gives no key out when its removal cannot be stored", async ({ kv, host }) => {
  let full = false;
  const failing = new GroupCommit(
    new Proxy(kv, {
      get(target, name) {
        if (name === "atomic" && full) throw new TypeError("database or disk is full");
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  );
  const shelf = await PrekeyShelf.open({ kv, commit: failing, host });
  await shelf.publish(bob, publication(host, keys(1, 1)));
  full = true;
  const bundle = await shelf.fetch(alice, bob);
  strictEqual(bundle.oneTimePrekey, null);
  deepStrictEqual(bundle.signedPart, publication(host, []).signedPart);
  full = false;
  strictEqual((await shelf.fetch(alice, bob)).oneTimePrekey?.id, 1);
  await failing.close();
});

shelfTest("throws its one-time keys away when the store was restored", async (shop) => {
  await shop.shelf.publish(bob, publication(shop.host, keys(1, 5)));
  await shop.shelf.dropOneTimeKeys();
  deepStrictEqual(shop.shelf.status(bob), { oneTimeLeft: 0, signedPrekeyId: 7 });
  const later = await shop.reopen();
  deepStrictEqual(later.status(bob), { oneTimeLeft: 0, signedPrekeyId: 7 });
  strictEqual((await later.fetch(alice, bob)).oneTimePrekey, null);
});

shelfTest("forgets a peer", async (shop) => {
  await shop.shelf.publish(bob, publication(shop.host, keys(1, 5)));
  await shop.shelf.fetch(alice, bob);
  await shop.shelf.remove(bob);
  await shop.shelf.remove(bob);
  deepStrictEqual(shop.shelf.status(bob), { oneTimeLeft: 0, signedPrekeyId: null });
  deepStrictEqual(await Array.fromAsync(shop.kv.list({ prefix: [] })), []);
});

function publication(
  host: TestHost,
  oneTimePrekeys: OneTimePrekey[],
  replaceAll = false,
): PrekeyPublish {
  const { signedPart, signature } = prekeysFor("bob", host.now());
  return { signedPart, signature, oneTimePrekeys, replaceAll };
}

function keys(first: number, count: number): OneTimePrekey[] {
  return Array.from({ length: count }, (_, n) => keyOf(first + n));
}

function keyOf(id: number): OneTimePrekey {
  return { id, publicKey: bytesFor(`one-time key ${id}`) };
}
