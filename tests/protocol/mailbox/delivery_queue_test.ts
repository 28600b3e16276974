import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  DeliveryQueue,
  DeliveryWindow,
  MAX_UNACKNOWLEDGED,
  type WaitingMessage,
} from "../../../src/protocol/mailbox/delivery_queue.ts";

let order = 0;

function message(sender: string, id = `${sender}${order}`): WaitingMessage {
  return { order: order++, id, sender, size: 1, acceptedAt: order, ending: false };
}

function take(queue: DeliveryQueue<WaitingMessage>, window: DeliveryWindow<WaitingMessage>) {
  const taken: WaitingMessage[] = [];
  for (let next = queue.next(window); next !== undefined; next = queue.next(window)) {
    taken.push(next);
  }
  return taken;
}

Deno.test("DeliveryQueue serves senders by turns, each in order", () => {
  const queue = new DeliveryQueue<WaitingMessage>();
  const [a1, a2, a3, b1, b2] = ["a", "a", "a", "b", "b"].map((sender) => message(sender));
  for (const entry of [a1!, a2!, a3!, b1!, b2!]) queue.add(entry);
  deepStrictEqual(take(queue, new DeliveryWindow()), [a1, b1, a2, b2, a3]);
});

Deno.test("DeliveryQueue stops at a full window and goes on when there is room", () => {
  const queue = new DeliveryQueue<WaitingMessage>();
  for (let n = 0; n < MAX_UNACKNOWLEDGED + 1; n++) queue.add(message("a"));
  const window = new DeliveryWindow<WaitingMessage>();
  const [first, ...rest] = take(queue, window);
  strictEqual(rest.length, MAX_UNACKNOWLEDGED - 1);
  queue.remove(first!);
  window.release(first!);
  strictEqual(take(queue, window).length, 1);
});

Deno.test("DeliveryQueue holds the second of one id back, with its sender's later ones", () => {
  const queue = new DeliveryQueue<WaitingMessage>();
  const [first, second, later, other] = [
    message("a", "same"),
    message("b", "same"),
    message("b"),
    message("c"),
  ];
  for (const entry of [first!, second!, later!, other!]) queue.add(entry);
  const window = new DeliveryWindow<WaitingMessage>();
  deepStrictEqual(take(queue, window), [first, other]);
  queue.remove(first!);
  window.release(first!);
  deepStrictEqual(take(queue, window), [second, later]);
});

Deno.test("DeliveryQueue starts from the front on a new window", () => {
  const queue = new DeliveryQueue<WaitingMessage>();
  const [a, b] = [message("x"), message("x")];
  for (const entry of [a!, b!]) queue.add(entry);
  take(queue, new DeliveryWindow());
  deepStrictEqual(take(queue, new DeliveryWindow()), [a, b]);
});

Deno.test("DeliveryQueue lets nothing of a sender pass a message that is ending", () => {
  const queue = new DeliveryQueue<WaitingMessage>();
  const [a, b, c, other] = [message("x"), message("x"), message("x"), message("y")];
  for (const entry of [a!, b!, c!, other!]) queue.add(entry);
  const window = new DeliveryWindow<WaitingMessage>();
  b!.ending = true;
  deepStrictEqual(take(queue, window), [a, other]);
  b!.ending = false;
  deepStrictEqual(take(queue, window), [b, c]);
});

Deno.test("DeliveryWindow knows a message by its id only once it was sent", () => {
  const window = new DeliveryWindow<WaitingMessage>();
  const entry = message("a", "id");
  window.take(entry);
  strictEqual(window.sentAs("id"), undefined);
  window.markSent(entry);
  strictEqual(window.sentAs("id"), entry);
  window.release(message("b", "id"));
  strictEqual(window.sentAs("id"), entry);
  window.release(entry);
  strictEqual(window.sentAs("id"), undefined);
});

Deno.test("DeliveryQueue brings every message once per window, in order, and counts right", () => {
  const step = fc.oneof(
    fc.record({ add: fc.constantFrom("a", "b", "c") }),
    fc.constant("deliver" as const),
    fc.record({ remove: fc.nat() }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const queue = new DeliveryQueue<WaitingMessage>();
    const window = new DeliveryWindow<WaitingMessage>();
    const waiting: WaitingMessage[] = [];
    const sent: WaitingMessage[] = [];
    for (const action of steps) {
      if (action === "deliver") {
        const next = queue.next(window);
        if (next === undefined) ok(waiting.every((entry) => sent.includes(entry)));
        else {
          const earlier = waiting.filter((entry) => entry.sender === next.sender)
            .filter((entry) => entry.order < next.order);
          ok(!sent.includes(next) && earlier.every((entry) => sent.includes(entry)));
          sent.push(next);
        }
      } else if ("add" in action) {
        const entry = message(action.add);
        waiting.push(entry);
        queue.add(entry);
      } else {
        const [entry] = waiting.splice(action.remove % (waiting.length || 1), 1);
        if (entry === undefined) continue;
        queue.remove(entry);
        queue.remove(entry);
        window.release(entry);
      }
      strictEqual(queue.size, waiting.length);
      strictEqual(queue.bytes, waiting.length);
      strictEqual(queue.oldestAcceptedAt(), waiting[0]?.acceptedAt);
    }
    deepStrictEqual([...queue.messages()].sort((a, b) => a.order - b.order), waiting);
  }));
});
