import { deepEqual, equal, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import type { ForwardDeliver } from "../../src/protocol/forward_messages.ts";
import type { SyncRequest } from "../../src/protocol/sync_messages.ts";
import { type CommitOptions, GroupCommit, type KvOperation } from "../../src/roles/group_commit.ts";
import { MailboxDesk } from "../../src/roles/server/mailbox_desk.ts";
import { decodeWaiting } from "../../src/roles/server/mailbox_records.ts";
import { DAY_MS, MemoryFolder, peer, TestHost } from "../roles/server/mailbox_scene.ts";

const MAX_AGE_MS = 7 * DAY_MS;

/** A store whose commits fail when told, and whose process dies after some more. */
class TrappedCommit extends GroupCommit {
  failing = 0;
  #left = Infinity;
  #died: (() => void) | undefined;
  /** Whoever asks a dead process has no answer, until the test is over. */
  readonly #silence = Promise.withResolvers<never>();

  constructor(folder: MemoryFolder) {
    super(folder.kv, folder.reserve);
    this.#silence.promise.catch(() => {});
  }

  /** Calls `died` behind the commit after `count` more; none is made from there on. */
  dieAfter(count: number, died: () => void): void {
    this.#left = count;
    this.#died = died;
  }

  bury(): void {
    this.#silence.reject(new Error("The process is dead"));
  }

  override async commit(
    operations: readonly KvOperation[],
    options: CommitOptions = {},
  ): Promise<void> {
    if (this.#left <= 0) return await this.#silence.promise;
    if (this.failing > 0) {
      this.failing--;
      throw new Error("The disk does not answer");
    }
    const isLast = --this.#left === 0;
    await super.commit(operations, options);
    if (!isLast) return;
    this.#died?.();
    return await this.#silence.promise;
  }
}

/** A store that a process writes until it dies; what it has in hand then is never written. */
class MortalDisk {
  /** The same store, as the process writes it. */
  readonly written: Deno.Kv;
  readonly #underWay = new Set<Promise<unknown>>();
  #isDead = false;

  constructor(readonly kv: Deno.Kv) {
    this.written = new Proxy(kv, {
      get: (target, name) => {
        if (name === "atomic") return () => this.#atomic(target);
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  /** Resolves when nothing is written any more. */
  async die(): Promise<void> {
    this.#isDead = true;
    await Promise.allSettled(this.#underWay);
  }

  #atomic(kv: Deno.Kv): Deno.AtomicOperation {
    const atomic = kv.atomic();
    const commit = atomic.commit.bind(atomic);
    atomic.commit = async () => {
      if (this.#isDead) throw new Error("The process is dead");
      const result = commit();
      this.#underWay.add(result);
      try {
        return await result;
      } finally {
        this.#underWay.delete(result);
      }
    };
    return atomic;
  }
}

/** What waits for a recipient, as a child would keep it: a list. */
interface Expected {
  readonly id: string;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly sequence: number;
  readonly text: string;
  readonly acceptedAt: number;
}

/** What was asked and has no answer: asked again after a crash. */
interface Asked {
  readonly from: PeerId;
  readonly request: SyncRequest;
}

/**
 * Messages to several recipients, random ends and random deaths of the mailbox, beside a list of
 * what must wait; the store is held against the list record by record.
 */
export class SyncModel implements AsyncDisposable {
  readonly #host: TestHost;
  readonly #senders = [peer("laptop"), peer("phone")];
  readonly #recipients = [1, 2, 3, 4].map((number) => peer(`device ${number}`));
  readonly #next = new Map<string, number>();
  readonly #gone = new Set<string>();
  #waiting: Expected[] = [];
  #disk: MortalDisk;
  readonly #dead: { disk: MortalDisk; commit: TrappedCommit; desk: MailboxDesk }[] = [];
  #commit!: TrappedCommit;
  #desk!: MailboxDesk;
  #count = 0;
  /** How often which step was taken. */
  readonly steps = new Map<string, number>();

  private constructor(seed: number, disk: MortalDisk) {
    this.#host = new TestHost(seed);
    this.#disk = disk;
  }

  static async open(seed: number): Promise<SyncModel> {
    const model = new SyncModel(seed, new MortalDisk(await Deno.openKv(":memory:")));
    await model.#openDesk();
    return model;
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      await this.#step();
      if (step % 8 === 7) await this.check();
    }
    await this.check();
  }

  async #step(): Promise<void> {
    const dice = this.#host.pick(100);
    if (dice < 40) return await this.#did("sync", () => this.#sync());
    if (dice < 48) return await this.#did("failed sync", () => this.#failedSync());
    if (dice < 56) return await this.#did("death in a sync", () => this.#deathInSync());
    if (dice < 74) return await this.#did("read", () => this.#read());
    if (dice < 80) return await this.#did("read together", () => this.#readTogether());
    if (dice < 86) return await this.#did("death in a read", () => this.#deathInRead());
    if (dice < 90) return await this.#did("failed read", () => this.#read({ failing: 2 }));
    if (dice < 94) return await this.#did("expiry", () => this.#expire());
    if (dice < 97) return await this.#did("purge", () => this.#purge());
    return await this.#did("unpair", () => this.#unpair());
  }

  async #did(name: string, step: () => Promise<void>): Promise<void> {
    this.steps.set(name, (this.steps.get(name) ?? 0) + 1);
    await step();
  }

  async #sync(): Promise<void> {
    const asked = this.#ask();
    const ack = await this.#desk.sync(asked.from, asked.request);
    deepEqual([ack.accepted, ack.answers.map(({ rejectionReason }) => rejectionReason)], [
      true,
      asked.request.rows.map(() => null),
    ]);
    this.#expect(asked);
    const again = await this.#desk.sync(asked.from, asked.request);
    equal(again.accepted, true, "a repeat is accepted again");
  }

  async #failedSync(): Promise<void> {
    const asked = this.#ask();
    this.#commit.failing = 1;
    const ack = await this.#desk.sync(asked.from, asked.request);
    this.#commit.failing = 0;
    equal(ack.accepted, false);
    for (const { recipient } of asked.request.rows) this.#advance(asked.from, recipient, -1);
  }

  async #deathInSync(): Promise<void> {
    const asked = this.#ask();
    await this.#die(() => this.#desk.sync(asked.from, asked.request));
    // Whatever the disk has: its sender asks again, with the same bytes.
    const ack = await this.#desk.sync(asked.from, asked.request);
    deepEqual(
      ack.answers.map(({ rejectionReason }) => rejectionReason),
      ack.answers.map(() => null),
    );
    equal(ack.accepted, true);
    this.#expect(asked);
  }

  async #read({ failing = 0 } = {}): Promise<void> {
    const recipient = this.#pick(this.#recipients);
    const received = await this.#deliveries(recipient);
    const taken = received.deliveries.filter(() => this.#host.pick(3) > 0);
    this.#commit.failing = Math.min(failing, taken.length);
    const ids = taken.map(({ msgId }) => msgId);
    await received.purge(ids).catch(() => {});
    this.#commit.failing = 0;
    if (failing > 0) await received.purge(ids);
    received.detach();
    this.#end(({ id }) => ids.map(toHex).includes(id));
  }

  /** Everybody has everything, and says so at the same time. */
  async #readTogether(): Promise<void> {
    const all = await Promise.all(this.#recipients.map((each) => this.#deliveries(each)));
    await Promise.all(
      all.map(({ deliveries, purge }) => purge(deliveries.map(({ msgId }) => msgId))),
    );
    for (const { detach } of all) detach();
    this.#waiting = [];
  }

  async #deathInRead(): Promise<void> {
    const recipient = this.#pick(this.#recipients);
    const { deliveries, purge } = await this.#deliveries(recipient);
    const ids = deliveries.map(({ msgId }) => msgId);
    await this.#die(() => purge(ids));
    // What was not ended comes again; the recipient has it, and says so.
    await this.#readAll(recipient);
    this.#end(({ to }) => to.equals(recipient));
  }

  async #expire(): Promise<void> {
    // In pieces, or the clock would not be believed.
    for (let half = 0; half < 2; half++) {
      this.#host.pass(MAX_AGE_MS * 0.15);
      await this.#desk.sweep();
    }
    const now = this.#host.now();
    this.#end(({ acceptedAt }) => now - acceptedAt > MAX_AGE_MS);
  }

  async #purge(): Promise<void> {
    const recipient = this.#pick(this.#recipients);
    await this.#desk.accounts.purge(recipient);
    this.#end(({ to }) => to.equals(recipient));
  }

  async #unpair(): Promise<void> {
    const recipient = this.#pick(this.#recipients);
    this.#gone.add(recipient.toString());
    await this.#desk.removePeer(recipient);
    this.#gone.delete(recipient.toString());
    this.#end(({ to }) => to.equals(recipient));
  }

  /** The store holds what it must, and nothing else. */
  async check(): Promise<void> {
    await this.#desk.close();
    const { kv } = this.#disk;
    const owners = new Map<string, number>();
    const waiting: unknown[] = [];
    for await (const { key, value } of kv.list({ prefix: ["mailbox", "waiting"] })) {
      const [to, from] = [PeerId.fromBytes(bytes(key[2])), PeerId.fromBytes(bytes(key[3]))];
      const { id, body, sequence } = decodeWaiting(value, { from, to, order: Number(key[4]) });
      ok(body !== null && "shared" in body);
      const name = toHex(body.shared);
      owners.set(name, (owners.get(name) ?? 0) + 1);
      waiting.push([`${from}`, `${to}`, sequence, id]);
    }
    deepEqual(
      waiting.sort(),
      this.#waiting.map(({ from, to, sequence, id }) => [`${from}`, `${to}`, sequence, id]).sort(),
    );

    const counts = new Map<string, number>();
    const places = new Map<string, { blob: Uint8Array; parts: number } | null>();
    type Count = { owners: number; parts: { blob: Uint8Array; parts: number } | null };
    for await (const { key, value } of kv.list<Count>({ prefix: ["mailbox", "shared", "count"] })) {
      counts.set(toHex(bytes(key[3])), value.owners);
      places.set(toHex(bytes(key[3])), value.parts);
    }
    deepEqual([...counts].sort(), [...owners].sort(), "a body has as many owners as are counted");

    const bodies = await this.#names(["mailbox", "shared", "body"], 3);
    const whole = [...places].filter(([, parts]) => parts === null).map(([name]) => name);
    deepEqual([...new Set(bodies)].sort(), whole.sort(), "a body is there as long as its owners");
    const parts = await this.#names(["mailbox", "blob", "part"], 3);
    const expectedParts = [...places.values()].flatMap((place) =>
      place === null ? [] : Array.from({ length: place.parts }, () => toHex(place.blob))
    );
    deepEqual(parts.sort(), expectedParts.sort(), "no part is left behind, and none is missing");
    deepEqual(await this.#names(["mailbox", "blob", "staged"], 3), []);
    await this.#openDesk();
    const stored = [...new Map(this.#waiting.map((each) => [each.text, each.text.length])).values()]
      .reduce((sum, size) => sum + size, 0);
    const own = this.#waiting.length * 16;
    deepEqual(this.#desk.totals(), { messages: this.#waiting.length, bytes: stored + own });
  }

  async #names(prefix: Deno.KvKey, index: number): Promise<string[]> {
    const entries = await Array.fromAsync(this.#disk.kv.list({ prefix }));
    return entries.map(({ key }) => toHex(bytes(key[index])));
  }

  /** A message to some of the recipients, in its place in each of their sequences. */
  #ask(): Asked {
    const from = this.#pick(this.#senders);
    const some = this.#recipients.filter(() => this.#host.pick(2) > 0);
    const recipients = some.length > 0 ? some : [this.#pick(this.#recipients)];
    const size = this.#pick([40, 5_000, 48_000, 70_000, 400_000]);
    const text = `message ${++this.#count} of ${from} `.padEnd(size, "x");
    const time = new Uint8Array(16);
    new DataView(time.buffer).setUint32(0, this.#count);
    const rows = recipients.map((recipient, index) => {
      const msgId = time.slice();
      msgId[15] = index;
      return {
        recipient,
        msgId,
        encryptedPayload: this.#host.random(16),
        sequenceNumber: this.#advance(from, recipient, 1),
      };
    });
    return { from, request: { id: time, sharedBody: new TextEncoder().encode(text), rows } };
  }

  #advance(from: PeerId, to: PeerId, step: number): number {
    const key = `${from} ${to}`;
    const next = (this.#next.get(key) ?? 0) + step;
    this.#next.set(key, next);
    return next;
  }

  #expect({ from, request }: Asked): void {
    const text = new TextDecoder().decode(request.sharedBody);
    for (const { recipient, msgId, sequenceNumber } of request.rows) {
      this.#waiting.push({
        id: toHex(msgId),
        from,
        to: recipient,
        sequence: sequenceNumber,
        text,
        acceptedAt: this.#host.now(),
      });
    }
  }

  #end(isEnded: (message: Expected) => boolean): void {
    this.#waiting = this.#waiting.filter((message) => !isEnded(message));
  }

  /** Everything that waits for a recipient, which is what must. */
  async #deliveries(recipient: PeerId) {
    const expected = this.#waiting.filter(({ to }) => to.equals(recipient));
    const deliveries: ForwardDeliver[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const attachment = this.#desk.attach(recipient, {
      deliver: (delivery) => {
        if (deliveries.push(delivery) >= expected.length) resolve();
      },
      drained: resolve,
      congested: false,
    });
    await promise;
    for (const { msgId, sharedBody } of deliveries) {
      const message = expected.find(({ id }) => id === toHex(msgId));
      equal(sharedBody && new TextDecoder().decode(sharedBody), message?.text);
    }
    for (const from of this.#senders) {
      const inOrder = deliveries.filter(({ sender }) => sender.equals(from));
      deepEqual(
        inOrder.map(({ sequenceNumber }) => sequenceNumber),
        expected.filter((each) => each.from.equals(from)).map(({ sequence }) => sequence),
      );
    }
    return {
      deliveries,
      purge: (ids: Uint8Array[]) => attachment.purge(ids, []),
      detach: () => attachment.detach(),
    };
  }

  /** Reads whatever comes, and says so, until nothing does. */
  async #readAll(recipient: PeerId): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const attachment = this.#desk.attach(recipient, {
      deliver: ({ msgId }) => void attachment.purge([msgId], []).catch(reject),
      drained: resolve,
      congested: false,
    });
    await promise;
    attachment.detach();
  }

  /** The process dies after one of the next commits, or when nothing is left to be done. */
  async #die(work: () => Promise<unknown>): Promise<void> {
    const died = Promise.withResolvers<void>();
    this.#commit.dieAfter(1 + this.#host.pick(6), died.resolve);
    work().catch(() => {});
    const idle = (async () => {
      for (let quiet = 0; quiet < 20; quiet++) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        await this.#commit.flush();
      }
    })();
    await Promise.race([died.promise, idle]);
    this.#commit.dieAfter(0, () => {});
    await this.#commit.flush();
    await this.#disk.die();
    const left = new MortalDisk(await Deno.openKv(":memory:"));
    for await (const { key, value } of this.#disk.kv.list({ prefix: [] })) {
      await left.kv.set(key, value);
    }
    this.#dead.push({ disk: this.#disk, commit: this.#commit, desk: this.#desk });
    this.#disk = left;
    await this.#openDesk();
  }

  async #openDesk(): Promise<void> {
    const folder = new MemoryFolder(this.#disk.written);
    this.#commit = new TrappedCommit(folder);
    this.#desk = await MailboxDesk.open({
      folder,
      commit: this.#commit,
      limits: {
        maxPerPeer: 10_000,
        maxAgeMs: MAX_AGE_MS,
        maxTotalBytes: 1024 ** 3,
        largestBody: 1_000_000,
        minFreeBytes: 0,
      },
      isPaired: (candidate) => !this.#gone.has(candidate.toString()),
      host: this.#host,
    });
    // A clock that has just started is not believed.
    this.#host.pass(11 * 60_000);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#host.pick(items.length)];
    if (item === undefined) throw new RangeError("Nothing to choose from");
    return item;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#desk.close();
    this.#disk.kv.close();
    for (const { disk, commit, desk } of this.#dead) {
      commit.bury();
      await desk.close();
      disk.kv.close();
    }
  }
}

function bytes(part: Deno.KvKeyPart | undefined): Uint8Array {
  ok(part instanceof Uint8Array);
  return part;
}
