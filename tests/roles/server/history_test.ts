import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { History, type HistorySample } from "../../../src/roles/server/history.ts";
import { HistoryClock } from "../../../src/roles/server/history_clock.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { AUTHORIZED, ManagedScene } from "./managed_scene.ts";

/** On a border between two steps of ten minutes. */
const BEGIN = Date.UTC(2026, 0, 1);
const STEP = 600_000;

Deno.test("History keeps an hour of samples and a week of steps, and no more", () => {
  const history = new History();
  const days = 8;
  for (let at = BEGIN; at < BEGIN + days * 86_400_000; at += 10_000) history.add(sample(at));
  const [hour, week] = [history.samples("hour"), history.samples("week")];
  deepStrictEqual([hour.length, week.length], [360, 1_008]);
  strictEqual((hour.at(-1)?.at ?? 0) - (hour[0]?.at ?? 0), 3_590_000);
  strictEqual((week.at(-1)?.at ?? 0) - (week[0]?.at ?? 0), 7 * 86_400_000 - STEP);
});

Deno.test("A step of the week has the highest of its samples, the least room, and all bytes", () => {
  const history = new History();
  history.add({ ...sample(BEGIN), storedBytes: 5, relayedBytes: 1, freeBytes: 30 });
  history.add({ ...sample(BEGIN + 10_000), storedBytes: 9, relayedBytes: 2, freeBytes: 20 });
  history.add({ ...sample(BEGIN + STEP - 1), storedBytes: 7, relayedBytes: 4, freeBytes: 40 });
  history.add({ ...sample(BEGIN + STEP), storedBytes: 1 });
  deepStrictEqual(history.samples("week"), [
    { ...sample(BEGIN), storedBytes: 9, relayedBytes: 7, freeBytes: 20 },
    { ...sample(BEGIN + STEP), storedBytes: 1 },
  ]);
});

Deno.test("A server is read at once and every ten seconds, until that ends", async () => {
  const scene = new ManagedScene();
  const history = new History();
  let relayed = 100;
  Object.assign(scene.relay, { bytesRelayed: () => relayed });
  using time = new FakeTime();
  const clock = new HistoryClock(scene, history);
  await settled();
  relayed = 130;
  time.pass(10_000);
  await settled();
  await clock[Symbol.asyncDispose]();
  time.pass(60_000);
  deepStrictEqual(history.samples("hour").map(({ relayedBytes }) => relayedBytes), [0, 30]);
  deepStrictEqual(history.samples("hour")[0], {
    at: scene.host.now(),
    connectedPeers: 1,
    waitingMessages: 3,
    storedBytes: 99,
    relayPairs: 1,
    freeBytes: 10 ** 9,
    relayedBytes: 0,
  });
});

Deno.test("GET /history answers the hour or the week, from a moment on", async () => {
  const scene = new ManagedScene();
  for (const at of [BEGIN, BEGIN + 10_000, BEGIN + 20_000]) scene.history.add(sample(at));
  scene.history.add({ ...sample(BEGIN + 30_000), freeBytes: Infinity });
  const ask = async (query: string) => await (await scene.ask(`/history${query}`)).json();
  const hour = await ask("");
  deepStrictEqual([hour.step_secs, hour.samples.length], [10, 4]);
  deepStrictEqual(hour.samples[3], {
    at: BEGIN / 1000 + 30,
    connected_peers: 0,
    waiting_messages: 0,
    stored_bytes: 0,
    relay_pairs: 0,
    free_bytes: null,
    relayed_bytes: 0,
  });
  strictEqual((await ask(`?after=${BEGIN / 1000 + 10}`)).samples.length, 2);
  const week = await ask("?range=week");
  deepStrictEqual([week.step_secs, week.samples.length], [600, 1]);
  strictEqual((await scene.ask("/history?range=year")).status, 422);
  strictEqual((await scene.api.request("/history")).status, 401);
});

Deno.test("GET /events/recent tells what happened, and where to listen on", async () => {
  const scene = new ManagedScene();
  const ask = async () => await (await scene.ask("/events/recent")).json();
  const before = await ask();
  deepStrictEqual(before.events, []);
  scene.events.publish({ type: "peer.connected", data: { peer_id: "Qm" } });
  scene.events.mention({ type: "queue.changed", data: {} });
  const { events, last_id: lastId } = await ask();
  const at = Math.floor(scene.host.now() / 1000);
  deepStrictEqual(events, [{ id: lastId, at, type: "peer.connected", data: { peer_id: "Qm" } }]);
  const headers = { ...AUTHORIZED, "last-event-id": before.last_id };
  const { body } = await scene.api.request("/events", { headers });
  scene.streams.close();
  const told = await new Response(body).text();
  strictEqual(told.includes(`id: ${lastId}\nevent: peer.connected\n`), true, told);
});

function sample(at: number): HistorySample {
  return {
    at,
    connectedPeers: 0,
    waitingMessages: 0,
    storedBytes: 0,
    relayPairs: 0,
    freeBytes: 0,
    relayedBytes: 0,
  };
}

/** Lets what waits for a settled promise go on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}
