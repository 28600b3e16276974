import { equalBytes, toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { SharedContent } from "../../protocol/session/shared_body.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvBlobs } from "../kv_blobs.ts";
import type { KvStore } from "../kv_store.ts";
import { SharedBodies } from "../shared_bodies.ts";
import { messageId } from "../../protocol/uuid.ts";
import { Audience } from "./audience.ts";
import { checkOf, isIntact } from "./message_check.ts";
import { isSharedData, OutboxBodies, type PreparedData } from "./outbox_bodies.ts";
import type { OutboxEntry, OutboxEvents, Route, Wire } from "./outbox_entry.ts";
import type { StoreStep } from "./session_store.ts";

/** Messages without a receipt to one recipient beyond which sending is refused. */
const MAX_PER_RECIPIENT = 10_000;
/** By how much inner sequences jump after a rollback, past all that may have been used. */
const ROLLBACK_JUMP = 1_048_576;
/** Receipts of so many earlier mailboxes are still known for what they are. */
const MAX_EARLIER = 8;

/** What was sent and lacks a receipt, in order per recipient, on disk before anything leaves. */
export class Outbox {
  readonly #entries = new Map<string, OutboxEntry[]>();
  readonly #byOuterId = new Map<string, OutboxEntry>();
  /** Those that share a body, by message id. */
  readonly #sharing = new Map<string, Set<OutboxEntry>>();
  /** Those whose removal is not on disk yet. */
  readonly #removals = new Map<OutboxEntry, Promise<void>>();
  readonly #next = new Map<string, number>();
  readonly #routes = new Map<string, Route>();
  #staging: Promise<void> = Promise.resolve();

  private constructor(
    private readonly commit: GroupCommit,
    private readonly blobs: KvBlobs,
    private readonly host: Host,
    private readonly bodies: OutboxBodies,
    private readonly audience: Audience,
    readonly events: OutboxEvents,
  ) {}

  static async open(
    kv: KvStore,
    commit: GroupCommit,
    blobs: KvBlobs,
    host: Host,
    events: OutboxEvents,
  ): Promise<Outbox> {
    const bodies = new OutboxBodies(
      blobs,
      new SharedBodies(kv, blobs, ["shared"], host),
      host,
    );
    const outbox = new Outbox(commit, blobs, host, bodies, await Audience.open(kv), events);
    const wires = new Map<string, Wire>();
    for await (const { key, value } of kv.list<Wire>({ prefix: ["wire"] })) {
      wires.set(`${String(key[1])} ${String(key[2])}`, value);
    }
    for await (const { key, value } of kv.list<StoredEntry>({ prefix: ["outbox"] })) {
      const recipient = PeerId.parse(String(key[1]));
      if (!recipient) continue;
      const sequence = Number(key[2]);
      const wire = wires.get(`${String(key[1])} ${String(key[2])}`);
      wires.delete(`${String(key[1])} ${String(key[2])}`);
      const entry = outbox.#add({ ...value, recipient, sequence, wire });
      const { data } = entry;
      if (data instanceof Uint8Array && !isIntact({ ...entry, data }, entry.check)) {
        throw new Error("A message in the outbox is damaged");
      }
    }
    for (const [name, orphan] of wires) {
      const [recipient = "", sequence] = name.split(" ");
      await commit.commit([
        { type: "delete", key: ["wire", recipient, Number(sequence)] },
        ...blobs.bodyDeleteOps(orphan.body),
      ]);
    }
    for await (const { key, value } of kv.list<number>({ prefix: ["next"] })) {
      outbox.#next.set(String(key[1]), value);
    }
    for await (const { key, value } of kv.list<Route>({ prefix: ["route"] })) {
      outbox.#routes.set(`${String(key[1])} ${String(key[2])}`, value);
    }
    for (const { recipient, wire } of [...outbox.#entries.values()].flat()) {
      const key = `${wire?.server} ${recipient}`;
      const route = outbox.#routes.get(key);
      if (!wire || !route || !equalBytes(route.storeId, wire.storeId)) continue;
      // A crash may have come between the correction of a count and of the numbers beyond it.
      const highest = Math.max(route.highest, wire.sequence);
      outbox.#routes.set(key, { ...route, highest });
    }
    return outbox;
  }

  /** Recipients with messages that lack a receipt. */
  recipients(): PeerId[] {
    return [...this.#entries.values()].flatMap((entries) => entries[0]?.recipient ?? []);
  }

  /** Messages to `recipient` without a receipt, in order. */
  entries(recipient: PeerId): readonly OutboxEntry[] {
    return this.#entries.get(recipient.toString()) ?? [];
  }

  /** The message that a mailbox calls so, be it the one that has it now or an earlier one. */
  byOuterId(outerId: Uint8Array): OutboxEntry | undefined {
    return this.#byOuterId.get(toHex(outerId));
  }

  /** The entry is still wanted: neither delivered nor dropped meanwhile. */
  has(entry: OutboxEntry): boolean {
    return this.entries(entry.recipient).includes(entry);
  }

  /**
   * Durably queues a message; resolves to its entry. Messages keep the order of the calls.
   *
   * @throws {CairnError} when too many wait, or the disk is full.
   */
  async enqueue(recipient: PeerId, channel: string, data: Uint8Array): Promise<OutboxEntry> {
    const [entry] = await this.#enqueue([recipient], channel, data);
    if (entry === undefined) throw new TypeError("A message without its recipient");
    return entry;
  }

  /**
   * The same for several recipients, of whom each gets the same message under the same id: all of
   * them or none; `skipsFull` leaves out those for whom too many wait already.
   */
  enqueueForAll(
    recipients: readonly PeerId[],
    channel: string,
    data: Uint8Array,
    { skipsFull = false } = {},
  ): Promise<OutboxEntry[]> {
    return this.#enqueue(recipients, channel, data, { skipsFull });
  }

  /** @param broadcast is for several; without it the message is for one alone. */
  async #enqueue(
    recipients: readonly PeerId[],
    channel: string,
    data: Uint8Array,
    broadcast?: { readonly skipsFull: boolean },
  ): Promise<OutboxEntry[]> {
    const now = this.host.now();
    const id = messageId(now, this.host.random(10));
    const content = { id, channel, sentAt: now, data };
    const staged = this.#staging.then(async () => {
      if (broadcast) await this.audience.settled();
      const open = recipients.filter((each) => !this.#isFull(each));
      const full = recipients.find((each) => !open.includes(each));
      if (full !== undefined && !(broadcast?.skipsFull && open.length > 0)) throw fullError(full);
      // A large body takes longer to stage than a small one behind it.
      return { to: open, prepared: await this.bodies.prepare(content, open.length) };
    });
    const queued = staged.then(({ to, prepared }) => {
      // Not awaited by the next in line: the commits keep their order and share a sync.
      return { durable: this.#enqueueStaged(to, content, prepared, broadcast !== undefined) };
    });
    this.#staging = queued.then(() => {}, () => {});
    return await (await queued).durable;
  }

  async #enqueueStaged(
    recipients: readonly PeerId[],
    content: SharedContent,
    prepared: PreparedData,
    isBroadcast: boolean,
  ): Promise<OutboxEntry[]> {
    const broadcast = isBroadcast ? this.audience.broadcastTo(recipients) : undefined;
    const { id, channel, sentAt } = content;
    const added = recipients.map((recipient) => {
      const text = recipient.toString();
      const sequence = this.#next.get(text) ?? 1;
      this.#next.set(text, sequence + 1);
      const unreadable = broadcast?.unreadable(recipient);
      const rest = { ...(unreadable !== undefined && { unreadable }) };
      const check = checkOf({ ...content, sequence, ...rest });
      const stored: StoredEntry = {
        id,
        channel,
        sentAt,
        data: prepared.value,
        check,
        failures: 0,
        ...rest,
      };
      return { recipient, text, sequence, stored };
    });
    try {
      await this.commit.commit([
        ...prepared.ops,
        ...broadcast?.ops ?? [],
        ...added.flatMap(({ text, sequence, stored }): KvOperation[] => [
          { type: "set", key: ["outbox", text, sequence], value: stored },
          { type: "set", key: ["next", text], value: sequence + 1 },
        ]),
      ]);
    } catch (error) {
      broadcast?.undo();
      await prepared.abandon();
      throw error;
    }
    broadcast?.done();
    return added.map(({ recipient, sequence, stored }) =>
      this.#add({ ...stored, recipient, sequence, wire: undefined })
    );
  }

  #isFull(recipient: PeerId): boolean {
    return this.entries(recipient).length >= MAX_PER_RECIPIENT;
  }

  /** The inner sequence that was given last to a message for `recipient`; 0 when none was. */
  lastSequence(recipient: PeerId): number {
    return (this.#next.get(recipient.toString()) ?? 1) - 1;
  }

  /** The plaintext of a message; `undefined` when it is damaged. */
  async read(entry: OutboxEntry): Promise<Uint8Array | undefined> {
    const data = await this.bodies.read(entry);
    return data && isIntact({ ...entry, data }, entry.check) ? data : undefined;
  }

  /** What an encrypted message shares with others; `undefined` when it is damaged, or alone. */
  async readShared({ data }: OutboxEntry): Promise<Uint8Array | undefined> {
    return isSharedData(data) ? await this.bodies.readShared(data) : undefined;
  }

  /** Every message that shares its body with `entry`, itself among them. */
  sharing({ id }: OutboxEntry): OutboxEntry[] {
    return [...this.#sharing.get(toHex(id)) ?? []];
  }

  /** The ciphertext of a message that has been encrypted; `undefined` when a part is missing. */
  readWire(wire: Wire): Promise<Uint8Array | undefined> {
    return this.blobs.readBody(wire.body);
  }

  route(server: PeerId, recipient: PeerId): Route | undefined {
    return this.#routes.get(`${server} ${recipient}`);
  }

  async setRoute(server: PeerId, recipient: PeerId, route: Route): Promise<void> {
    await this.commit.commit([
      { type: "set", key: ["route", server.toString(), recipient.toString()], value: route },
    ]);
    this.#routes.set(`${server} ${recipient}`, route);
  }

  /**
   * One commit: the ratchet step, the ciphertext, and its number. Only after it may the body leave.
   */
  async seal(
    entry: OutboxEntry,
    wire: Omit<Wire, "body" | "sequence" | "accepted">,
    body: Uint8Array,
    step: StoreStep,
  ): Promise<Wire> {
    const { value: stored, ops } = await this.blobs.storeBody(body);
    const replaced = entry.wire;
    const earlier = replaced && [...replaced.earlier ?? [], replaced.outerId].slice(-MAX_EARLIER);
    const sealed: Wire = {
      ...wire,
      ...(earlier && { earlier }),
      body: stored,
      sequence: 0,
      accepted: false,
    };
    const removal = replaced ? this.blobs.bodyDeleteOps(replaced.body) : [];
    try {
      return await this.#number(entry, sealed, [...ops, ...removal, ...step.operations], () => {
        step.apply();
        if (replaced) this.#forgetIds(replaced);
      });
    } catch (error) {
      await this.blobs.abandon(stored);
      throw error;
    }
  }

  /** Gives an encrypted message its number at a mailbox, durably. */
  number(entry: OutboxEntry, wire: Wire, storeId: Uint8Array): Promise<Wire> {
    return this.#number(entry, { ...wire, storeId, accepted: false }, [], () => {});
  }

  /**
   * True when `entry` must (again) be offered to the mailbox of `server` with this store id.
   * `isKept` says whether what was encrypted for another server is left with that one.
   */
  needsSending(
    entry: OutboxEntry,
    server: PeerId,
    storeId: Uint8Array,
    isKept: (wire: Wire) => boolean,
  ): boolean {
    const { wire } = entry;
    if (entry.refusedBy.has(server.toString())) return false;
    if (!wire) return true;
    if (wire.server !== server.toString()) return !isKept(wire);
    return !wire.accepted || !equalBytes(wire.storeId, storeId);
  }

  async accepted(entry: OutboxEntry, wire: Wire): Promise<void> {
    if (!this.has(entry) || entry.wire?.outerId !== wire.outerId || entry.wire.accepted) return;
    await this.#setWire(entry, { ...entry.wire, accepted: true });
    this.events.accepted(entry);
  }

  /** The mailbox does not have them any more: what it accepted above `last` is offered again. */
  unaccept(server: PeerId, recipient: PeerId, last: number): void {
    for (const entry of this.entries(recipient)) {
      const { wire } = entry;
      if (wire?.accepted && wire.server === server.toString() && wire.sequence > last) {
        entry.wire = { ...wire, accepted: false };
      }
    }
  }

  /** Takes their numbers from messages that the mailbox has not accepted. */
  unnumber(recipient: PeerId): void {
    for (const entry of this.entries(recipient)) {
      if (entry.wire && !entry.wire.accepted) entry.wire = { ...entry.wire, sequence: 0 };
    }
  }

  /** The recipient has it: forgets the message, unless it has ended already. */
  async delivered(entry: OutboxEntry): Promise<void> {
    if (await this.#removeOnce(entry)) this.events.delivered(entry);
  }

  /** Gives a message up for good, unless it has ended already. */
  async drop(entry: OutboxEntry, error: CairnError): Promise<void> {
    if (await this.#removeOnce(entry)) this.events.refused(entry, error, true);
  }

  /** The recipient could not open it: the ciphertext is thrown away, the message stays. */
  async reopen(entry: OutboxEntry): Promise<void> {
    const { recipient, sequence, id, channel, sentAt, data, check, unreadable } = entry;
    const failures = entry.failures + 1;
    const stored: StoredEntry = {
      ...{ id, channel, sentAt, data, check, failures },
      ...(unreadable !== undefined && { unreadable }),
    };
    const operation: KvOperation = {
      type: "set",
      key: ["outbox", recipient.toString(), sequence],
      value: stored,
    };
    await this.#unseal(entry, [operation]);
    entry.failures = failures;
  }

  /** The mailbox will not take it: another one may encrypt it for itself. */
  unseal(entry: OutboxEntry): Promise<void> {
    return this.#unseal(entry, []);
  }

  async #unseal(entry: OutboxEntry, operations: KvOperation[]): Promise<void> {
    const { wire } = entry;
    if (!wire) return;
    await this.commit.commit([...operations, ...this.#wireRemoval(entry)]);
    this.#forgetIds(wire);
    entry.wire = undefined;
  }

  /** After a rollback: no inner sequence that may have been used is used again. */
  async jump(): Promise<void> {
    const operations: KvOperation[] = [];
    const jump = ROLLBACK_JUMP * (1 + (this.host.random(1)[0] ?? 0));
    for (const [recipient, next] of this.#next) {
      const jumped = next + jump;
      this.#next.set(recipient, jumped);
      operations.push({ type: "set", key: ["next", recipient], value: jumped });
    }
    for (let start = 0; start < operations.length; start += 500) {
      await this.commit.commit(operations.slice(start, start + 500));
    }
  }

  /** The same for one recipient, who has seen messages up to `last` that are not known here. */
  async jumpPast(recipient: PeerId, last: number): Promise<void> {
    const text = recipient.toString();
    const next = Math.max(this.#next.get(text) ?? 1, last + 1) + ROLLBACK_JUMP;
    this.#next.set(text, next);
    await this.commit.commit([{ type: "set", key: ["next", text], value: next }]);
  }

  #add(made: Omit<OutboxEntry, "refusedBy">): OutboxEntry {
    const entry: OutboxEntry = { ...made, refusedBy: new Set() };
    const text = entry.recipient.toString();
    const entries = this.#entries.get(text);
    if (!entries) this.#entries.set(text, [entry]);
    else {
      const after = entries.findLastIndex((other) => other.sequence < entry.sequence);
      entries.splice(after + 1, 0, entry);
    }
    if (entry.wire) this.#noteIds(entry, entry.wire);
    if (isSharedData(entry.data)) {
      const name = toHex(entry.id);
      this.#sharing.set(name, (this.#sharing.get(name) ?? new Set()).add(entry));
    }
    return entry;
  }

  async #number(
    entry: OutboxEntry,
    wire: Wire,
    operations: KvOperation[],
    applied: () => void,
  ): Promise<Wire> {
    const recipient = entry.recipient.toString();
    const key = `${wire.server} ${recipient}`;
    const highest = (this.#routes.get(key)?.highest ?? 0) + 1;
    const route: Route = { storeId: wire.storeId, highest };
    const numbered: Wire = { ...wire, sequence: highest };
    await this.commit.commit([
      ...operations,
      { type: "set", key: ["wire", recipient, entry.sequence], value: numbered },
      { type: "set", key: ["route", wire.server, recipient], value: route },
    ]);
    applied();
    this.#routes.set(key, route);
    this.#noteIds(entry, numbered);
    entry.wire = numbered;
    return numbered;
  }

  async #setWire(entry: OutboxEntry, wire: Wire): Promise<void> {
    await this.commit.commit([
      { type: "set", key: ["wire", entry.recipient.toString(), entry.sequence], value: wire },
    ]);
    entry.wire = wire;
  }

  /**
   * Durable when it resolves; false when somebody else has removed it. Removed twice, a message
   * would let go of a shared body for another recipient, who still needs it.
   */
  async #removeOnce(entry: OutboxEntry): Promise<boolean> {
    const removal = this.#removals.get(entry);
    if (removal) {
      await removal;
      return false;
    }
    if (!this.has(entry)) return false;
    const own = this.#remove(entry).finally(() => this.#removals.delete(entry));
    this.#removals.set(entry, own);
    await own;
    return true;
  }

  async #remove(entry: OutboxEntry): Promise<void> {
    const text = entry.recipient.toString();
    await this.bodies.remove(entry, (ops) =>
      this.commit.commit([
        { type: "delete", key: ["outbox", text, entry.sequence] },
        ...ops,
        ...this.#wireRemoval(entry),
      ], { freesSpace: true }));
    const entries = this.#entries.get(text) ?? [];
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
    if (entries.length === 0) this.#entries.delete(text);
    if (entry.wire) this.#forgetIds(entry.wire);
    const sharing = this.#sharing.get(toHex(entry.id));
    sharing?.delete(entry);
    if (sharing?.size === 0) this.#sharing.delete(toHex(entry.id));
  }

  #noteIds(entry: OutboxEntry, { outerId, earlier = [] }: Wire): void {
    for (const id of [outerId, ...earlier]) this.#byOuterId.set(toHex(id), entry);
  }

  #forgetIds({ outerId, earlier = [] }: Wire): void {
    for (const id of [outerId, ...earlier]) this.#byOuterId.delete(toHex(id));
  }

  #wireRemoval(entry: OutboxEntry): KvOperation[] {
    if (!entry.wire) return [];
    return [
      { type: "delete", key: ["wire", entry.recipient.toString(), entry.sequence] },
      ...this.blobs.bodyDeleteOps(entry.wire.body),
    ];
  }
}

/** What a sender is told when too many wait for a recipient. */
export function fullError(recipient: PeerId): CairnError {
  return new CairnError(
    "refused",
    `${MAX_PER_RECIPIENT} messages to ${recipient} still wait to be delivered; try again later`,
  );
}

type StoredEntry = Pick<
  OutboxEntry,
  "id" | "channel" | "sentAt" | "data" | "check" | "failures" | "unreadable"
>;
