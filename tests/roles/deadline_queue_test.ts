import assert from "node:assert/strict";
import { DeadlineQueue } from "../../src/roles/deadline_queue.ts";

Deno.test("what stays too long in a DeadlineQueue is late, in order, and once", async () => {
  const late: string[] = [];
  const done = Promise.withResolvers<void>();
  const queue = new DeadlineQueue<string>(20, (item) => {
    late.push(item);
    if (item === "c") done.resolve();
  });
  queue.add("a");
  queue.add("b");
  queue.add("a");
  await new Promise((resolve) => setTimeout(resolve, 5));
  queue.add("c");
  await done.promise;
  assert.deepEqual(late, ["a", "b", "c"]);
});

Deno.test("what leaves a DeadlineQueue in time is not late, and a closed one has no timer", async () => {
  const done = Promise.withResolvers<string>();
  const queue = new DeadlineQueue<string>(20, (item) => done.resolve(item));
  queue.add("a");
  queue.delete("a");
  queue.delete("unknown");
  queue.add("b");
  queue.add("c");
  queue.delete("b");
  assert.equal(await done.promise, "c");
  const silent = new DeadlineQueue<string>(3_600_000, () => {});
  silent.add("a");
  silent.close();
});

Deno.test("what a DeadlineQueue calls late may be put in again", async () => {
  const done = Promise.withResolvers<void>();
  let times = 0;
  const queue: DeadlineQueue<string> = new DeadlineQueue(5, (item) => {
    if (++times === 3) done.resolve();
    else queue.add(item);
  });
  queue.add("a");
  await done.promise;
});
