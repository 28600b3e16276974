import { deepEqual } from "node:assert/strict";
import { RepeatedNews } from "../../../src/roles/path/repeated_news.ts";
import { FakeTime } from "../../support/fake_time.ts";

Deno.test("RepeatedNews says it at once and eight times more, the last time after a minute and a half", () => {
  using time = new FakeTime();
  const said: (readonly [second: number, isRepeat: boolean])[] = [];
  const start = time.monotonic();
  const news = new RepeatedNews((isRepeat) => {
    said.push([Math.round((time.monotonic() - start) / 1000), isRepeat]);
  });
  news.begin();
  time.pass(500_000);
  deepEqual(said.map(([second]) => second), [0, 2, 6, 14, 30, 46, 62, 78, 94]);
  deepEqual(said.map(([, isRepeat]) => isRepeat), [false, ...Array(8).fill(true)]);
});

Deno.test("RepeatedNews begins anew with what is newer, and ends when it is told", () => {
  using time = new FakeTime();
  let said = 0;
  const news = new RepeatedNews(() => said++);
  news.begin();
  time.pass(3_000);
  news.begin();
  time.pass(1_000);
  deepEqual(said, 3);
  time.pass(1_000);
  deepEqual(said, 4);
  news.end();
  time.pass(500_000);
  deepEqual(said, 4);
});
