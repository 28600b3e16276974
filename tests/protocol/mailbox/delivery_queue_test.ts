import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  DeliveryQueue,
  type PageRequest,
  type WaitingMessage,
} from "../../../src/protocol/mailbox/delivery_queue.ts";
import {
  DeliveryWindow,
  MAX_UNACKNOWLEDGED,
} from "../../../src/protocol/mailbox/delivery_window.ts";

let order = 0;

function message(sender: string, id = `${sender}${order}`): WaitingMessage {
  return { order: order++, id, sender, size: 1, acceptedAt: order };
}

function openQueue(): DeliveryQueue<WaitingMessage> {
  const queue = new DeliveryQueue<WaitingMessage>();
  queue.open();
  return queue;
}

function take(queue: DeliveryQueue<WaitingMessage>, window: DeliveryWindow<WaitingMessage>) {
  const taken: WaitingMessage[] = [];
  for (let next = queue.next(window); next !== undefined; next = queue.next(window)) {
    taken.push(next);
  }
  return taken;
}

Deno.test("DeliveryQueue serves senders by turns, each in order", () => {
  const queue = openQueue();
  const [a1, a2, a3, b1, b2] = ["a", "a", "a", "b", "b"].map((sender) => message(sender));
  for (const entry of [a1!, a2!, a3!, b1!, b2!]) queue.add(entry);
  deepStrictEqual(take(queue, new DeliveryWindow()), [a1, b1, a2, b2, a3]);
});

Deno.test("DeliveryQueue stops at a full window and goes on when there is room", () => {
  const queue = openQueue();
  for (let n = 0; n < MAX_UNACKNOWLEDGED + 1; n++) queue.add(message("a"));
  const window = new DeliveryWindow<WaitingMessage>();
  const [first, ...rest] = take(queue, window);
  strictEqual(rest.length, MAX_UNACKNOWLEDGED - 1);
  queue.remove(first!);
  window.release(first!);
  strictEqual(take(queue, window).length, 1);
});

Deno.test("DeliveryQueue holds the second of one id back, with its sender's later ones", () => {
  const queue = openQueue();
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
  const queue = openQueue();
  const [a, b] = [message("x"), message("x")];
  for (const entry of [a!, b!]) queue.add(entry);
  take(queue, new DeliveryWindow());
  deepStrictEqual(take(queue, new DeliveryWindow()), [a, b]);
});

Deno.test("DeliveryQueue lets nothing of a sender pass a message that is ending", () => {
  const queue = openQueue();
  const [a, b, c, other] = [message("x"), message("x"), message("x"), message("y")];
  for (const entry of [a!, b!, c!, other!]) queue.add(entry);
  const window = new DeliveryWindow<WaitingMessage>();
  ok(queue.startEnding(b!));
  ok(!queue.startEnding(b!), "it ends already");
  deepStrictEqual(take(queue, window), [a, other]);
  queue.stopEnding(b!);
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

Deno.test("DeliveryQueue asks for what waited before it was opened, and for what came meanwhile", () => {
  const queue = openQueue();
  const [a, b, c, d] = [message("x"), message("x"), message("x"), message("x")];
  queue.restore("x", 3, 3);
  const window = new DeliveryWindow<WaitingMessage>();
  const first = queue.beginPage(window);
  deepStrictEqual([first?.sender, first?.after], ["x", -1]);
  strictEqual(queue.beginPage(window), undefined, "it is being read");
  queue.add(d!);
  queue.remove(a!);
  queue.endPage(first!, { messages: [a!, b!, c!], last: c!.order, isLast: true });
  deepStrictEqual(take(queue, window), [b, c], "not the one that ended");
  const second = queue.beginPage(window);
  strictEqual(second?.after, c!.order);
  queue.endPage(second);
  strictEqual(queue.beginPage(window)?.after, c!.order, "reading failed, and is tried again");
});

Deno.test("DeliveryQueue forgets a page that belonged to an earlier link", () => {
  const queue = openQueue();
  const [a, b] = [message("x"), message("x")];
  queue.restore("x", 2, 2);
  const stale = queue.beginPage(new DeliveryWindow());
  queue.close();
  queue.open();
  const window = new DeliveryWindow<WaitingMessage>();
  const current = queue.beginPage(window);
  queue.endPage(stale!, { messages: [b!], last: b!.order, isLast: true });
  deepStrictEqual(take(queue, window), []);
  queue.endPage(current!, { messages: [a!, b!], last: b!.order, isLast: true });
  deepStrictEqual(take(queue, window), [a, b]);
});

Deno.test("DeliveryQueue brings every message once per window, in order, and counts right", () => {
  const step = fc.oneof(
    fc.record({ add: fc.constantFrom("a", "b", "c") }),
    fc.constantFrom("deliver", "page begins", "page ends", "page fails", "link ends"),
    fc.record({ remove: fc.nat() }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
    const queue = openQueue();
    let window = new DeliveryWindow<WaitingMessage>();
    const waiting: WaitingMessage[] = [];
    let sent: WaitingMessage[] = [];
    const pages: { request: PageRequest; messages: WaitingMessage[] }[] = [];
    const deliver = () => {
      const next = queue.next(window);
      if (next === undefined) return false;
      const earlier = waiting.filter((entry) => entry.sender === next.sender)
        .filter((entry) => entry.order < next.order);
      ok(waiting.includes(next) && !sent.includes(next));
      ok(earlier.every((entry) => sent.includes(entry)));
      sent.push(next);
      return true;
    };
    const beginPage = () => {
      const request = queue.beginPage(window);
      if (request === undefined) return false;
      const { sender, after } = request;
      const behind = waiting.filter((entry) => entry.sender === sender && entry.order > after);
      pages.push({ request, messages: behind });
      return true;
    };
    const endPage = (fails: boolean) => {
      const page = pages.shift();
      if (page === undefined) return;
      const messages = page.messages.slice(0, 2);
      const isLast = messages.length < 2;
      const last = messages.at(-1)?.order ?? -1;
      queue.endPage(page.request, fails ? undefined : { messages, last, isLast });
    };
    for (const action of steps) {
      if (action === "deliver") deliver();
      else if (action === "page begins") beginPage();
      else if (action === "page ends") endPage(false);
      else if (action === "page fails") endPage(true);
      else if (action === "link ends") {
        queue.close();
        queue.open();
        window = new DeliveryWindow();
        sent = [];
      } else if ("add" in action) {
        const entry = message(action.add);
        waiting.push(entry);
        queue.add(entry);
      } else {
        const [entry] = waiting.splice(action.remove % (waiting.length || 1), 1);
        if (entry === undefined) continue;
        queue.remove(entry);
        window.release(entry);
      }
      strictEqual(queue.size, waiting.length);
      strictEqual(queue.bytes, waiting.length);
    }
    while (pages.length > 0) endPage(false);
    while (deliver() || beginPage()) while (pages.length > 0) endPage(false);
    ok(waiting.every((entry) => sent.includes(entry)), "all that waits was sent");
  }));
});
