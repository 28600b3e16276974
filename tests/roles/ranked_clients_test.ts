import assert from "node:assert/strict";
import { inTurn, rankClients, signalingFailure } from "../../src/roles/ranked_clients.ts";
import { CairnError } from "../../src/base/errors.ts";

const URLS = ["ws://a", "ws://b", "ws://c"];

Deno.test("rankClients() spreads topics over servers, and a lost server moves only its own topics", () => {
  const clients = URLS.map((url) => ({ url, connected: true }));
  const topics = Array.from({ length: 300 }, (_, i) => `topic ${i}`);
  const first = topics.map((topic) => rankClients(clients, topic)[0]?.url);
  for (const url of URLS) assert.ok(first.filter((each) => each === url).length > 60, url);
  const left = clients.slice(1);
  topics.forEach((topic, i) => {
    const expected = first[i] === "ws://a" ? rankClients(clients, topic)[1]?.url : first[i];
    assert.equal(rankClients(left, topic)[0]?.url, expected);
    assert.deepEqual(
      rankClients(clients.toReversed(), topic),
      rankClients(clients, topic),
      "whatever order they are given in",
    );
  });
});

Deno.test("rankClients() has the ranks of SHA-256 over URL, space and topic, highest first", () => {
  // sha256sum says 8e613b78… of "ws://a t", 71f2431e… of "ws://b t" and 9fe92565… of "ws://c t".
  const ranked = rankClients(URLS.map((url) => ({ url, connected: true })), "t");
  assert.deepEqual(ranked.map(({ url }) => url), ["ws://c", "ws://a", "ws://b"]);
});

Deno.test("rankClients() puts what is not connected last, and keeps a server that is named twice", () => {
  const clients = [
    { url: "ws://a", connected: false },
    { url: "ws://b", connected: true },
    { url: "ws://b", connected: true },
    { url: "ws://c", connected: false },
  ];
  for (const topic of ["1", "2", "3", "4"]) {
    const ranked = rankClients(clients, topic);
    assert.deepEqual(ranked.map(({ connected }) => connected), [true, true, false, false]);
  }
});

Deno.test("inTurn() starts the next attempt only when the one before fails", async () => {
  const started: number[] = [];
  const attempt = (number: number, outcome: () => Promise<number>) => () => {
    started.push(number);
    return outcome();
  };
  const failing = () => Promise.reject(new Error("failed"));
  const winner = await inTurn(
    [attempt(1, failing), attempt(2, () => Promise.resolve(2)), attempt(3, failing)],
    1e9,
  );
  assert.equal(winner, 2);
  assert.deepEqual(started, [1, 2]);
});

Deno.test("inTurn() starts the next attempt when the one before takes too long, and takes either", async () => {
  const slow = Promise.withResolvers<string>();
  const started: string[] = [];
  const outcome = inTurn([
    () => slow.promise,
    () => {
      started.push("second");
      slow.resolve("first after all");
      return new Promise<string>(() => {});
    },
  ], 5);
  assert.equal(await outcome, "first after all");
  assert.deepEqual(started, ["second"]);
});

Deno.test("inTurn() fails when all attempts have", async () => {
  const failing = () => Promise.reject(new Error("failed"));
  await assert.rejects(inTurn([failing, failing], 1e9), AggregateError);
  await assert.rejects(inTurn([], 1e9), AggregateError);
});

Deno.test("signalingFailure() tells of a server that is gone while no other works, of a refusal always", () => {
  const failed = (code: "unreachable" | "refused") => ({
    connected: false,
    lastError: new CairnError(code, code),
  });
  const [gone, refused] = [failed("unreachable"), failed("refused")];
  const works = { connected: true, lastError: undefined };
  assert.equal(signalingFailure([gone]), gone.lastError);
  assert.equal(signalingFailure([gone, works]), undefined);
  assert.equal(signalingFailure([works, gone, refused]), refused.lastError);
  assert.equal(signalingFailure([works]), undefined);
});
