import assert from "node:assert/strict";
import fc from "fast-check";
import { TopicRouter } from "../../../src/protocol/signal/topic_router.ts";

const LIMITS = { topicsPerListener: 2, listenersPerTopic: 2 };

Deno.test("TopicRouter relays to everybody on the topic but the sender", () => {
  const router = new TopicRouter<string>({ ...LIMITS, listenersPerTopic: 3 });
  for (const listener of ["ann", "bob", "cid"]) router.subscribe(listener, "t");
  router.subscribe("dan", "other");
  assert.deepEqual([...router.relay("ann", "t")], ["bob", "cid"]);
});

Deno.test("TopicRouter relays for a sender who does not listen", () => {
  const router = new TopicRouter<string>(LIMITS);
  router.subscribe("bob", "t");
  assert.deepEqual([...router.relay("ann", "t")], ["bob"]);
  assert.deepEqual([...router.relay("ann", "nobody's")], []);
});

Deno.test("TopicRouter delivers once however often a listener subscribed", () => {
  const router = new TopicRouter<string>(LIMITS);
  assert.equal(router.subscribe("bob", "t"), "subscribed");
  assert.equal(router.subscribe("bob", "t"), "subscribed");
  assert.deepEqual([...router.relay("ann", "t")], ["bob"]);
  router.unsubscribe("bob", "t");
  assert.deepEqual([...router.relay("ann", "t")], []);
});

Deno.test("TopicRouter bounds the topics of a listener, and frees them again", () => {
  const router = new TopicRouter<string>(LIMITS);
  router.subscribe("bob", "a");
  router.subscribe("bob", "b");
  assert.equal(router.subscribe("bob", "c"), "too-many-topics");
  assert.equal(router.subscribe("bob", "b"), "subscribed");
  assert.equal(router.topicCount, 2);
  router.unsubscribe("bob", "a");
  assert.equal(router.subscribe("bob", "c"), "subscribed");
});

Deno.test("TopicRouter bounds the listeners of a topic, and frees their places again", () => {
  const router = new TopicRouter<string>(LIMITS);
  router.subscribe("ann", "t");
  router.subscribe("bob", "t");
  assert.equal(router.subscribe("cid", "t"), "topic-full");
  router.remove("ann");
  assert.equal(router.subscribe("cid", "t"), "subscribed");
  assert.deepEqual([...router.relay("bob", "t")], ["cid"]);
});

Deno.test("TopicRouter survives a listener that leaves while it is relayed to", () => {
  const router = new TopicRouter<string>({ ...LIMITS, listenersPerTopic: 3 });
  for (const listener of ["ann", "bob", "cid"]) router.subscribe(listener, "t");
  const reached: string[] = [];
  for (const listener of router.relay("dan", "t")) {
    reached.push(listener);
    router.remove(listener);
  }
  assert.deepEqual(reached, ["ann", "bob", "cid"]);
  assert.equal(router.topicCount, 0);
});

Deno.test("TopicRouter does what a plain list of pairs would do", () => {
  const step = fc.record({
    action: fc.constantFrom("subscribe", "unsubscribe", "remove"),
    listener: fc.constantFrom("ann", "bob", "cid"),
    topic: fc.constantFrom("a", "b", "c"),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
    const router = new TopicRouter<string>(LIMITS);
    let pairs: { listener: string; topic: string }[] = [];
    for (const { action, listener, topic } of steps) {
      const isPair = (pair: { listener: string; topic: string }) =>
        pair.listener === listener && pair.topic === topic;
      if (action === "subscribe") {
        router.subscribe(listener, topic);
        const fits = pairs.filter((pair) => pair.listener === listener).length < 2 &&
          pairs.filter((pair) => pair.topic === topic).length < 2;
        if (fits && !pairs.some(isPair)) pairs.push({ listener, topic });
      } else if (action === "unsubscribe") {
        router.unsubscribe(listener, topic);
        pairs = pairs.filter((pair) => !isPair(pair));
      } else {
        router.remove(listener);
        pairs = pairs.filter((pair) => pair.listener !== listener);
      }
      for (const each of ["a", "b", "c"]) {
        const expected = pairs.filter((pair) => pair.topic === each).map((pair) => pair.listener);
        assert.deepEqual([...router.relay("dan", each)].sort(), expected.sort());
      }
      assert.equal(router.topicCount, new Set(pairs.map((pair) => pair.topic)).size);
    }
  }));
});

Deno.test("a TopicRouter tells when a topic gets its first listener and loses its last one", () => {
  const told: string[] = [];
  const router = new TopicRouter<string>(LIMITS, {
    opened: (topic) => told.push(`+${topic}`),
    emptied: (topic) => told.push(`-${topic}`),
  });
  router.subscribe("ann", "a");
  router.subscribe("ann", "a");
  router.subscribe("bob", "a");
  router.subscribe("bob", "b");
  router.unsubscribe("ann", "a");
  router.unsubscribe("ann", "a");
  router.remove("bob");
  router.remove("bob");
  assert.deepEqual(told, ["+a", "+b", "-a", "-b"]);
});
