/* What the first thread of a role and another one say to each other, and what a failure means. */

import assert from "node:assert/strict";
import { CairnError } from "../../src/base/errors.ts";
import { RoleThread, ThreadCalls } from "../../src/roles/role_thread.ts";
import { ThreadLock } from "../../src/roles/thread_lock.ts";
import { FakeTime } from "../support/fake_time.ts";

interface TestCalls {
  readonly double: { readonly body: number; readonly answer: number };
  readonly refuse: { readonly body: string; readonly answer: never };
}

Deno.test("a thread that fails ends the process, with a sentence", async () => {
  const program = "addEventListener('message', () => { throw new Error('out of luck'); });";
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(program)}`, {
    type: "module",
  });
  const failed = Promise.withResolvers<ErrorEvent>();
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    failed.resolve(event);
  };
  addEventListener("error", onError);
  using _thread = new RoleThread<TestCalls>(worker, undefined);
  assert.match((await failed.promise).error.message, /^A thread failed: .*out of luck/);
  removeEventListener("error", onError);
});

Deno.test("a thread that hears nothing any more is a failure; one that hears is none", async () => {
  const module = new URL("../../src/roles/role_thread.ts", import.meta.url).href;
  const program = `
    import { runThread, ThreadCalls } from ${JSON.stringify(module)};
    runThread("cairn signal", (control) => {
      const calls = new ThreadCalls(control, { double: (number) => 2 * number, refuse() { for (;;); } });
      control.onmessage = ({ data }) => void calls.take(data);
    });`;
  const open = () =>
    new Worker(`data:text/javascript,${encodeURIComponent(program)}`, {
      type: "module",
      name: "cairn signal",
    });
  using hung = new RoleThread<TestCalls>(open(), undefined);
  using well = new RoleThread<TestCalls>(open(), undefined);
  const failed = Promise.withResolvers<Error>();
  hung.onFailure = failed.resolve;
  well.onFailure = failed.reject;
  assert.equal(await hung.call("double", 21), 42);
  void hung.call("refuse", "for ever");
  using time = new FakeTime();
  well.watch();
  hung.watch();
  for (let minute = 0; minute < 2; minute++) {
    time.pass(60_000);
    // What was asked before it was answered before it.
    assert.equal(await well.call("double", minute), 2 * minute);
  }
  assert.match((await failed.promise).message, /^A thread has not answered for 60 seconds$/);
});

Deno.test("what a thread refuses reaches whoever asked, in the same words", async () => {
  const { port1, port2 } = new MessageChannel();
  const calls = new ThreadCalls<TestCalls>(port1, {
    double: (number) => 2 * number,
    refuse: (text) => {
      throw new CairnError("invalid-option", text);
    },
  });
  const replies: unknown[] = [];
  const two = Promise.withResolvers<void>();
  port2.onmessage = ({ data }) => {
    if (replies.push(data) === 2) two.resolve();
  };
  await calls.take({ id: 1, kind: "double", body: 21 });
  await calls.take({ id: 2, kind: "refuse", body: "not so" });
  await two.promise;
  assert.deepEqual(replies, [
    { kind: "answer", id: 1, answer: 42 },
    { kind: "refusal", id: 2, code: "invalid-option", message: "not so" },
  ]);
  port1.close();
  port2.close();
});

Deno.test("a lock lets one thread at a time do what two must not do", async () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const count = new Int32Array(new SharedArrayBuffer(4));
  const module = new URL("../../src/roles/thread_lock.ts", import.meta.url).href;
  const program = `
    import { ThreadLock } from ${JSON.stringify(module)};
    addEventListener("message", ({ data: { word, count } }) => {
      const lock = new ThreadLock(word);
      for (let i = 0; i < 20_000; i++) lock.hold(() => count[0] = count[0] + 1);
      postMessage("done");
    });`;
  const workers = [1, 2].map(() =>
    new Worker(`data:text/javascript,${encodeURIComponent(program)}`, { type: "module" })
  );
  const done = workers.map((worker) => new Promise((resolve) => worker.onmessage = resolve));
  for (const worker of workers) worker.postMessage({ word, count });
  const lock = new ThreadLock(word);
  for (let i = 0; i < 20_000; i++) lock.hold(() => count[0]!++);
  await Promise.all(done);
  assert.equal(count[0], 60_000);
  for (const worker of workers) worker.terminate();
});
