import { deepEqual, equal, notDeepEqual, rejects, throws } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemHost } from "../../src/base/host.ts";
import { keyBytes } from "../../src/roles/kv_key_bytes.ts";
import { sealedKv } from "../../src/roles/sealed_kv.ts";
import { isDamage } from "../../src/roles/store_damage.ts";
import { SEAL_BYTES, ValueSeal } from "../../src/roles/value_seal.ts";

const DATA_KEY = new Uint8Array(32).fill(3);
const KEYS: Deno.KvKey[] = [
  ["text", "ü😀", ""],
  ["zero\0in it", Uint8Array.of(0, 255, 0), new Uint8Array(0)],
  ...[0, 1, -1, 1.5, -(2 ** 40), 2 ** 52, Number.MAX_SAFE_INTEGER].map((number) => ["n", number]),
];

/** A store in a file, and the same sealed. */
async function withStore(
  story: (kv: Deno.Kv, sealed: Deno.Kv, file: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/cairn.kv`;
  const kv = await Deno.openKv(file);
  try {
    await story(kv, sealedKv(kv, new ValueSeal(DATA_KEY, systemHost)), file);
  } finally {
    kv.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("Keys are written as Deno KV writes them", async () => {
  await withStore(async (kv, _, file) => {
    for (const [index, key] of KEYS.entries()) await kv.set(key, Uint8Array.of(index));
    using database = new DatabaseSync(file, { readOnly: true });
    const rows = database.prepare("SELECT k, v FROM kv").all();
    equal(rows.length, KEYS.length);
    for (const { k, v } of rows) {
      const index = v instanceof Uint8Array ? v[0] : undefined;
      deepEqual(keyBytes(KEYS[index ?? -1] ?? []), k, String(index));
    }
  });
  throws(() => keyBytes(["x", 1n]), TypeError);
});

Deno.test("Whoever has the key reads what was written, others see neither value nor length 0", async () => {
  await withStore(async (kv, sealed) => {
    const values: unknown[] = [
      { text: "secret", bytes: Uint8Array.of(1, 2), nested: [null, undefined, 7] },
      Uint8Array.of(1, 2, 3),
      new Uint8Array(0),
      "text",
      0,
      false,
    ];
    for (const [index, value] of values.entries()) await sealed.set(["v", index], value);
    await sealed.set(["cairn", "meta"], { kind: "server" });

    for (const [index, value] of values.entries()) {
      deepEqual((await sealed.get(["v", index])).value, value);
      const stored = (await kv.get(["v", index])).value;
      equal(stored instanceof Uint8Array && stored.length > SEAL_BYTES, true);
    }
    deepEqual((await kv.get(["cairn", "meta"])).value, { kind: "server" });
    deepEqual((await sealed.get(["cairn", "meta"])).value, { kind: "server" });
    equal((await sealed.get(["absent"])).versionstamp, null);
    const listed = await Array.fromAsync(
      sealed.list({ prefix: ["v"] }, { reverse: true, limit: 2 }),
    );
    deepEqual(listed.map(({ value }) => value), [false, 0]);
    deepEqual((await sealed.list({ prefix: ["v"] }).next()).value?.value, values[0]);
    equal((await sealed.list({ prefix: ["nothing"] }).next()).done, true);
  });
});

Deno.test("Atomic changes are sealed, too, and keep their conditions", async () => {
  await withStore(async (kv, sealed) => {
    const first = await sealed.atomic().check({ key: ["a"], versionstamp: null })
      .set(["a"], 1).set(["b"], 2).commit();
    equal(first.ok, true);
    notDeepEqual((await kv.get(["a"])).value, 1);
    equal(
      (await sealed.atomic().check({ key: ["a"], versionstamp: null }).set(["a"], 9).commit()).ok,
      false,
    );
    const { versionstamp } = await sealed.get(["a"]);
    await sealed.atomic().check({ key: ["a"], versionstamp }).delete(["b"]).set(["a"], 3).commit();
    deepEqual([(await sealed.get(["a"])).value, (await sealed.get(["b"])).value], [3, null]);
  });
});

Deno.test("A value that was altered, or moved to another key, is called damaged", async () => {
  await withStore(async (kv, sealed) => {
    await sealed.set(["a"], "value");
    const { value } = await kv.get<Uint8Array>(["a"]);
    for (let place = 0; place < value!.length; place++) {
      const altered = value!.slice();
      altered[place]! ^= 1;
      await kv.set(["a"], altered);
      await rejects(sealed.get(["a"]), isDamage);
    }
    for (const bad of [value!.subarray(0, 20), new Uint8Array(0), "text"]) {
      await kv.set(["a"], bad);
      await rejects(sealed.get(["a"]), isDamage);
    }
    await kv.set(["b"], value);
    await rejects(sealed.get(["b"]), isDamage);
    await kv.set(["a"], value);
    equal((await sealed.get(["a"])).value, "value");
    const other = sealedKv(kv, new ValueSeal(new Uint8Array(32), systemHost));
    await rejects(other.get(["a"]), isDamage);
  });
});

Deno.test("No two values are sealed alike, also not by two openings of the same store", () => {
  const seals = [1, 2].map(() => new ValueSeal(DATA_KEY, systemHost));
  const sealed = seals.flatMap((seal) =>
    [1, 2].map(() => seal.seal(Uint8Array.of(1), Uint8Array.of(2)).subarray(0, 24).toHex())
  );
  equal(new Set(sealed).size, 4);
  for (const seal of seals) {
    deepEqual(
      seal.open(Uint8Array.of(1), seals[0]!.seal(Uint8Array.of(1), Uint8Array.of(2))),
      Uint8Array.of(2),
    );
  }
});
