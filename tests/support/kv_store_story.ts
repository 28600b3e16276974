import type { KvStore } from "../../src/roles/kv_store.ts";

type Line = readonly [what: string, seen: unknown];

const KEYS: readonly Deno.KvKey[] = [
  ["a"],
  ["a", ""],
  ["a", "b"],
  ["a", "b", 1],
  ["a", "b\u0000c"],
  ["a", "bc"],
  ["a", Uint8Array.of()],
  ["a", Uint8Array.of(0)],
  ["a", Uint8Array.of(0, 1)],
  ["a", Uint8Array.of(0xff)],
  ["a", -1.5],
  ["a", 0],
  ["a", 2],
  ["a", 10],
  ["a", 4_294_967_296],
  ["ab"],
  ["b", "ö"],
];

/**
 * Does with a store what a peer's tables do, and tells what it sees, as JSON: an empty store of any
 * kind makes the same of it.
 */
export async function kvStoreStory(kv: KvStore): Promise<string[]> {
  const lines = [
    ...await values(kv),
    ...await order(kv),
    ...await checks(kv),
    ...await failures(kv),
    ...await together(kv),
  ];
  return lines.map(([what, seen]) => `${what}: ${JSON.stringify(seen, plain)}`);
}

async function values(kv: KvStore): Promise<Line[]> {
  const whole = Uint8Array.from({ length: 60_000 }, (_, index) => index);
  const kept = [0, "text", true, null, whole, {
    list: [1, { bytes: Uint8Array.of(7) }],
    none: undefined,
  }];
  const lines: Line[] = [["nothing", await kv.get(["value", "absent"])]];
  for (const [index, value] of kept.entries()) {
    await kv.set(["value", index], value);
    const { key, value: found, versionstamp } = await kv.get(["value", index]);
    lines.push(["kept", [key, found, versionstamp?.length]]);
  }
  return lines;
}

async function order(kv: KvStore): Promise<Line[]> {
  const atomic = kv.atomic();
  for (const key of KEYS.toReversed()) atomic.set(key, key.length);
  await atomic.commit();
  const keysOf = async (...args: Parameters<KvStore["list"]>) =>
    (await Array.fromAsync(kv.list(...args))).map(({ key }) => key);
  const lines: Line[] = [];
  for (const batchSize of [1, 3, 100]) {
    for (const reverse of [false, true]) {
      for (const limit of [2, 100]) {
        const options = { batchSize, reverse, limit };
        lines.push(
          ["below a", await keysOf({ prefix: ["a"] }, options)],
          ["below a, b", await keysOf({ prefix: ["a", "b"] }, options)],
          ["from a, 1", await keysOf({ prefix: ["a"], start: ["a", 1] }, options)],
          ["to a, 10", await keysOf({ prefix: ["a"], end: ["a", 10] }, options)],
          ["between", await keysOf({ start: ["a", "b"], end: ["ab"] }, options)],
          ["empty", await keysOf({ prefix: ["nobody"] }, options)],
        );
      }
    }
  }
  return lines;
}

async function checks(kv: KvStore): Promise<Line[]> {
  const key = ["counted"];
  const make = (versionstamp: string | null, value: number) =>
    kv.atomic().check({ key, versionstamp }).set(key, value).set(["beside"], value).commit();
  const first = await make(null, 1);
  const again = await make(null, 2);
  const { versionstamp } = await kv.get(key);
  const second = await make(versionstamp, 3);
  const late = await make(versionstamp, 4);
  await kv.atomic().delete(key).commit();
  await kv.set(key, 5);
  const reborn = await make(versionstamp, 6);
  return [
    ["checked", [first.ok, again.ok, second.ok, late.ok, reborn.ok]],
    ["left", [(await kv.get(key)).value, (await kv.get(["beside"])).value]],
  ];
}

/** What cannot be stored takes all that is beside it along. */
async function failures(kv: KvStore): Promise<Line[]> {
  let outcome = "made";
  try {
    await kv.atomic().set(["before"], 1).delete(["counted"]).set(["bad"], () => {}).commit();
  } catch {
    outcome = "refused";
  }
  const left = await Promise.all([["before"], ["counted"]].map((key) => kv.get(key)));
  return [[outcome, left.map(({ value }) => value)]];
}

/** Of commits at the same time that check the same, one is made. */
async function together(kv: KvStore): Promise<Line[]> {
  const made = await Promise.all(
    Array.from(
      { length: 20 },
      (_, index) =>
        kv.atomic().check({ key: ["raced"], versionstamp: null }).set(["raced"], index)
          .set(["racer", index], true).commit(),
    ),
  );
  const racers = await Array.fromAsync(kv.list({ prefix: ["racer"] }));
  return [["one of 20", [made.filter(({ ok }) => ok).length, racers.length]]];
}

function plain(_name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${value.toHex()}`;
  return value === undefined ? "undefined" : value;
}
