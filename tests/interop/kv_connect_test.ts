/** Deno's client does the same with our KV Connect server as with a store in a file, and denokv. */

import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { Denokv } from "../support/denokv.ts";
import { Dice } from "../support/dice.ts";
import { KvConnectServer } from "../support/kv_connect.ts";

const STEPS = 300;
const KEYS = 24;

Deno.test("The KV Connect server of the tests keeps what Deno's own store keeps", async () => {
  await using server = new KvConnectServer();
  await using kv = await connect(server);
  using own = await Deno.openKv(":memory:");
  for (const seed of [1, 2, 3]) deepEqual(await story(kv.store, seed), await story(own, seed));
});

Deno.test("The KV Connect server of the tests refuses what it does not do", async () => {
  await using server = new KvConnectServer();
  await using kv = await connect(server);
  await rejects(kv.store.atomic().sum(["n"], 1n).commit());
  await rejects(kv.store.set(["n"], 1, { expireIn: 60_000 }));
  await rejects(kv.store.enqueue("n"));
  equal((await kv.store.get(["n"])).value, null);
  const headers = { authorization: `Bearer ${server.token}` };
  for (const [body, status] of [['{"supportedVersions":[9]}', 400], ["{}", 400]] as const) {
    const response = await fetch(server.url, { method: "POST", headers, body });
    await response.body?.cancel();
    equal(response.status, status);
  }
});

Deno.test({
  name: "denokv keeps what Deno's own store keeps",
  ignore: !await Denokv.isInstalled(),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "cairn-denokv-" });
    try {
      await using server = await Denokv.start(folder);
      await using kv = await connect(server);
      using own = await Deno.openKv(":memory:");
      deepEqual(await story(kv.store, 1), await story(own, 1));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function connect(
  { url, token }: { url: string; token: string },
): Promise<AsyncDisposable & { store: Deno.Kv }> {
  Deno.env.set("DENO_KV_ACCESS_TOKEN", token);
  const store = await Deno.openKv(url);
  return {
    store,
    [Symbol.asyncDispose]() {
      store.close();
      Deno.env.delete("DENO_KV_ACCESS_TOKEN");
      return Promise.resolve();
    },
  };
}

/** Random commits and reads; what came of each. */
async function story(kv: Deno.Kv, seed: number): Promise<unknown[]> {
  const dice = new Dice(seed);
  const seen: unknown[] = [];
  let commits = 0;
  for (let step = 0; step < STEPS; step++) {
    const keys = Array.from({ length: 1 + dice.below(4) }, () => keyOf(dice.below(KEYS)));
    if (dice.below(3) > 0) {
      const checked = await kv.get(keys[0]!);
      const atomic = kv.atomic();
      const isStale = dice.below(4) === 0;
      if (isStale) await kv.set(keys[0]!, dice.bytes(3));
      if (dice.below(2) > 0) atomic.check(checked);
      for (const key of keys) {
        if (dice.below(3) > 0) atomic.set(key, valueOf(dice));
        else atomic.delete(key);
      }
      const { ok: done } = await atomic.commit();
      if (done) commits++;
      seen.push(done);
    } else {
      const [start, end] = [keyOf(dice.below(KEYS)), keyOf(dice.below(KEYS))];
      const options = { limit: 1 + dice.below(9), reverse: dice.below(2) > 0, batchSize: 2 };
      const found = await list(kv, { start, end }, options);
      seen.push(found, await list(kv, { prefix: [1] }, { ...options, reverse: false }));
      seen.push((await kv.getMany(keys)).map(({ value }) => value));
    }
  }
  ok(commits > STEPS / 4 && commits < STEPS, "some commits are made, others are not");
  for await (const { key } of kv.list({ prefix: [] })) await kv.delete(key);
  return seen;
}

async function list(
  kv: Deno.Kv,
  selector: Deno.KvListSelector,
  options: Deno.KvListOptions,
): Promise<unknown> {
  try {
    const entries = await Array.fromAsync(kv.list(selector, options));
    return entries.map(({ key, value }) => [key, value]);
  } catch (error) {
    // A range that ends before it begins.
    return error instanceof Error ? error.constructor.name : error;
  }
}

/** Keys of different kinds and lengths. */
function keyOf(number: number): Deno.KvKey {
  const parts = [number % 3, `text ${number % 5}`, Uint8Array.of(number), number % 2 === 0];
  return parts.slice(0, 1 + number % 4);
}

function valueOf(dice: Dice): unknown {
  return [
    dice.bytes(dice.below(40)),
    { text: "value", number: dice.below(9) },
    null,
  ][dice.below(3)];
}
