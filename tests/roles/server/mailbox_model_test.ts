import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { ForwardDeliver } from "../../../src/protocol/forward_messages.ts";
import {
  bodyOf,
  Inbox,
  MemoryFolder,
  openDesk,
  Outbox,
  peer,
  type Scene,
  TestHost,
  textOf,
} from "./mailbox_scene.ts";

const STEPS = 150;
const senders = ["s1", "s2", "s3"].map(peer);
const recipients = ["r1", "r2"].map(peer);

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  Deno.test({
    name: `The mailbox loses nothing and repeats nothing through crashes (seed ${seed})`,
    // What is lost shows as a recipient that waits.
    timeout: 60_000,
    async fn() {
      const path = await Deno.makeTempFile();
      const world = new World(path, new TestHost(seed));
      await world.start();
      for (let step = 0; step < STEPS; step++) await world.step();
      await world.finish();
      await Deno.remove(path);
    },
  });
}

/** A message as its sender keeps it: until the receipt. */
interface Sent {
  readonly text: string;
  readonly msgId: Uint8Array;
  readonly body: Uint8Array;
  accepted: boolean;
}

/** The oracle: what each sender and recipient durably knows, whatever the server forgets. */
class World {
  readonly #path: string;
  readonly #host: TestHost;
  readonly #pairs = senders.flatMap((from) =>
    recipients.map((to) => ({ from, to, outbox: [] as Sent[], count: 0 }))
  );
  /** Per recipient, texts in the order in which they were first stored. */
  readonly #stored = new Map(recipients.map((to) => [to.toString(), [] as string[]]));
  /** Texts whose purge was confirmed: never to be delivered again. */
  readonly #purged = new Set<string>();
  readonly #everAccepted = new Set<string>();
  readonly #receipted = new Set<string>();
  /** How often the server was started. */
  #life = 0;
  #folder!: MemoryFolder;
  #scene!: Scene;
  #inboxes = new Map<string, Link>();
  #outboxes = new Map<string, Outbox>();

  constructor(path: string, host: TestHost) {
    this.#path = path;
    this.#host = host;
  }

  async start(): Promise<void> {
    this.#folder = new MemoryFolder(await Deno.openKv(this.#path));
    this.#scene = await openDesk(this.#folder, this.#host);
  }

  async step(): Promise<void> {
    switch (this.#host.pick(10)) {
      case 0:
        return await this.#crash();
      case 1:
      case 2:
        return this.#attach(this.#one(recipients));
      case 3:
        return this.#attachSender(this.#one(senders));
      case 4:
        return this.#detach(this.#one(recipients));
      case 5:
        return await this.#acknowledge(this.#one(senders));
      case 6:
      case 7:
        return await this.#purge(this.#one(recipients));
      default:
        return await this.#send();
    }
  }

  /** Everyone comes back; then every message must be where it belongs. */
  async finish(): Promise<void> {
    for (const pair of this.#pairs) {
      while (pair.outbox.some(({ accepted }) => !accepted)) await this.#offer(pair);
    }
    for (const to of recipients) {
      this.#attach(to);
      const link = this.#inboxes.get(to.toString())!;
      const { inbox } = link;
      while (inbox.drains === 0) {
        await inbox.until(() => inbox.drains > 0 || inbox.received.length > link.handled);
        await this.#purge(to, true);
      }
    }
    for (const from of senders) {
      this.#attachSender(from);
      while (this.#pairs.some((pair) => pair.from === from && pair.outbox.length > 0)) {
        await this.#outboxes.get(from.toString())!.untilReceived(1);
        await this.#acknowledge(from);
      }
    }
    deepStrictEqual(this.#scene.desk.totals(), { messages: 0, bytes: 0 });
    for (const { from, to, count } of this.#pairs) {
      const expected = Array.from({ length: count }, (_, n) => nameOf(from, to, n));
      const stored = this.#stored.get(to.toString())!;
      deepStrictEqual(stored.filter((text) => text.startsWith(nameOf(from, to))), expected);
      ok(expected.every((text) => this.#receipted.has(text)));
    }
    await this.#scene.close();
    this.#folder.kv.close();
  }

  async #send(): Promise<void> {
    const pair = this.#one(this.#pairs);
    for (let fresh = this.#host.pick(6); fresh > 0; fresh--) {
      const text = nameOf(pair.from, pair.to, pair.count++);
      const size = this.#host.pick(12) === 0 ? 60_000 + this.#host.pick(500_000) : 0;
      const msgId = this.#host.random(16);
      pair.outbox.push({ text, msgId, body: bodyOf(text, size), accepted: false });
    }
    const offering = this.#offer(pair);
    // Now and then the server dies while it stores.
    if (this.#host.pick(4) === 0) {
      for (let turns = this.#host.pick(8); turns > 0; turns--) await this.#turn();
      await this.#crash();
    }
    await offering;
  }

  /** Offers, all at once, what was not accepted yet, and sometimes one that was. */
  async #offer(pair: { from: PeerId; to: PeerId; outbox: Sent[] }): Promise<void> {
    const { desk } = this.#scene;
    const life = this.#life;
    const { from, to, outbox } = pair;
    desk.linkUp(from);
    let sequence = desk.lastAccepted(from, to);
    const repeat = outbox.filter(({ accepted }) => accepted).slice(0, this.#host.pick(2));
    const offered = [...outbox.filter(({ accepted }) => !accepted), ...repeat];
    await Promise.all(offered.map(async (message) => {
      const ack = await desk.forward(from, {
        msgId: message.msgId,
        recipient: to,
        encryptedPayload: message.body,
        sequenceNumber: ++sequence,
      });
      // An answer that the crash swallowed never reached the sender.
      if (life !== this.#life) return;
      ok(ack.accepted, ack.rejectionReason ?? "");
      message.accepted = true;
      this.#everAccepted.add(message.text);
    }));
  }

  #attach(to: PeerId): void {
    this.#inboxes.set(to.toString(), {
      inbox: new Inbox(this.#scene.desk, to),
      handled: 0,
      last: new Map(),
      unpurged: [],
    });
  }

  #detach(to: PeerId): void {
    this.#inboxes.get(to.toString())?.inbox.attachment.detach();
    this.#inboxes.delete(to.toString());
  }

  /** The recipient stores what came, then purges some or all of it. */
  async #purge(to: PeerId, all = false): Promise<void> {
    const link = this.#inboxes.get(to.toString());
    if (link === undefined) return;
    for (const message of link.inbox.received.slice(link.handled)) this.#store(to, link, message);
    link.handled = link.inbox.received.length;
    const chosen = link.unpurged.filter(() => all || this.#host.pick(2) === 0);
    link.unpurged = link.unpurged.filter((message) => !chosen.includes(message));
    const purging = link.inbox.purge(...chosen);
    if (!all && this.#host.pick(8) === 0) {
      const outcome = purging.catch(() => {});
      await this.#crash();
      return await outcome;
    }
    await purging;
    for (const { encryptedPayload } of chosen) this.#purged.add(textOf(encryptedPayload));
  }

  #store(to: PeerId, link: Link, message: ForwardDeliver): void {
    const text = textOf(message.encryptedPayload);
    ok(!this.#purged.has(text), `${text} came again after its purge`);
    const sender = message.sender.toString();
    const last = link.last.get(sender) ?? 0;
    ok(message.sequenceNumber > last, `${text} came out of order`);
    link.last.set(sender, message.sequenceNumber);
    link.unpurged.push(message);
    const stored = this.#stored.get(to.toString())!;
    if (!stored.includes(text)) stored.push(text);
  }

  #attachSender(from: PeerId): void {
    this.#outboxes.set(from.toString(), new Outbox(this.#scene.desk, from));
  }

  async #acknowledge(from: PeerId): Promise<void> {
    const link = this.#outboxes.get(from.toString());
    if (link === undefined) return;
    const receipts = link.receipts.splice(0);
    for (const { msgId, delivered } of receipts) {
      strictEqual(delivered, true);
      for (const pair of this.#pairs.filter((candidate) => candidate.from === from)) {
        const index = pair.outbox.findIndex((sent) => toHex(sent.msgId) === toHex(msgId));
        if (index < 0) continue;
        const [sent] = pair.outbox.splice(index, 1);
        ok(this.#stored.get(pair.to.toString())!.includes(sent!.text));
        this.#receipted.add(sent!.text);
      }
    }
    await link.attachment.acknowledge(receipts.map(({ msgId }) => msgId));
  }

  /** The process dies: whatever is under way is cut off, and a new one starts. */
  async #crash(): Promise<void> {
    const dead = this.#scene;
    const { kv } = this.#folder;
    this.#inboxes.clear();
    this.#outboxes.clear();
    this.#life++;
    kv.close();
    const starting = this.start();
    await dead.close();
    await starting;
  }

  /** One turn of the event loop. */
  #turn(): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve) => {
      port1.onmessage = () => {
        port1.close();
        port2.close();
        resolve();
      };
      port2.postMessage(0);
    });
  }

  #one<Item>(items: readonly Item[]): Item {
    return items[this.#host.pick(items.length)]!;
  }
}

interface Link {
  readonly inbox: Inbox;
  handled: number;
  /** Last sequence per sender on this link. */
  readonly last: Map<string, number>;
  unpurged: ForwardDeliver[];
}

function nameOf(from: PeerId, to: PeerId, n?: number): string {
  const name = `${from}>${to} `;
  return n === undefined ? name : `${name}#${n}`;
}
