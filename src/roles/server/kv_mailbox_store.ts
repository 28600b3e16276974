import { equalBytes } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import { KvBlobs, type StoredBody } from "../kv_blobs.ts";
import { KvJournal } from "../kv_journal.ts";
import { LiveRecord } from "../live_record.ts";
import { hashOf, isShared, MailboxShared } from "./mailbox_shared.ts";
import {
  decodeWaiting,
  encodeWaiting,
  type Ended,
  type IdRecord,
  isWholePair,
  type MailboxMessage,
  type Outcome,
  type PairRecord,
  type PairState,
  type PreparedBody,
  type Receipt,
  type WaitingPage,
  withMessage,
  withoutMessage,
} from "./mailbox_records.ts";

const ROOT = "mailbox";
const WAITING = [ROOT, "waiting"];
const BODY = [ROOT, "body"];
const ID = [ROOT, "id"];
const PAIR = [ROOT, "pair"];
const RECEIPT = [ROOT, "receipt"];
const ENDED = [ROOT, "ended"];
const LEAVING = [ROOT, "leaving"];
const RUNS = [ROOT, "runs"];
const JOURNAL = [ROOT, "journal"];
const JOURNALED = new Set<unknown>(["waiting", "id", "pair", "receipt", "ended"]);
/** Bodies up to this size are part of the record of their message. */
const INLINE_BYTES = 4_096;
/** Orders of one run of the program start at `run × ORDERS_PER_RUN`; both fit a safe integer. */
const ORDERS_PER_RUN = 2 ** 33;
type StoredReceipt = Pick<Receipt, "msgId"> & Outcome;

/**
 * The mailbox in Deno KV: which records there are and which operations change them. Everything that
 * belongs together is one commit, and small records go through a {@linkcode KvJournal}.
 *
 * - `waiting / recipient / sender / order`: a message that waits, with its body when it is small
 * - `body / recipient / order`: a body; `blob / …`: the parts of one that is no single record
 * - `id / sender / recipient / message id`: every id that must not be stored again
 * - `ended / time / …`: when such an id may be forgotten
 * - `pair / sender / recipient`: the last accepted sequence, and how much waits
 * - `receipt / sender / order`: what the sender has yet to be told
 * - `leaving / peer`: an unpairing under way
 */
export class KvMailboxStore {
  readonly #kv: Deno.Kv;
  readonly #journal: KvJournal;
  readonly #blobs: KvBlobs;
  #nextOrder: number;

  private constructor(
    kv: Deno.Kv,
    journal: KvJournal,
    blobs: KvBlobs,
    run: number,
    readonly shared: MailboxShared,
  ) {
    this.#kv = kv;
    this.#journal = journal;
    this.#blobs = blobs;
    this.#nextOrder = run * ORDERS_PER_RUN;
  }

  /** From here on `commit` writes through the journal of this store. */
  static async open(kv: Deno.Kv, commit: GroupCommit, host: Host): Promise<KvMailboxStore> {
    const run = ((await kv.get<number>(RUNS)).value ?? 0) + 1;
    const journal = await KvJournal.open(kv, JOURNAL, isJournaled);
    commit.writeThrough(journal);
    await commit.commit([{ type: "set", key: RUNS, value: run }]);
    const blobs = new KvBlobs(kv, commit, [ROOT, "blob"], host);
    await blobs.sweepStaged();
    const shared = await MailboxShared.open(kv, ROOT, blobs, host);
    return new KvMailboxStore(kv, journal, blobs, run, shared);
  }

  /** Call it when nothing is committed any more. */
  close(): Promise<void> {
    return this.#journal.close();
  }

  /** A number above all that were given out before, in this run and earlier ones. */
  nextOrder(): number {
    return this.#nextOrder++;
  }

  /** Messages of `from` that wait for `to` with an order above `after`, up to `limit` records. */
  async waiting(from: PeerId, to: PeerId, after: number, limit: number): Promise<WaitingPage> {
    const prefix = [...WAITING, to.bytes, from.bytes];
    const records = await this.#journal.listAfter<unknown>(prefix, after, limit);
    const messages: MailboxMessage[] = [];
    const damaged: number[] = [];
    for (const { number: order, value } of records) {
      try {
        messages.push(decodeWaiting(value, { from, to, order }));
      } catch {
        damaged.push(order);
      }
    }
    const last = records.at(-1)?.number ?? -1;
    return { messages, damaged, last, isLast: records.length < limit };
  }

  async isWaiting({ from, to, order }: MailboxMessage): Promise<boolean> {
    return await this.#journal.get([...WAITING, to.bytes, from.bytes, order]) !== null;
  }

  async *pairs(): AsyncGenerator<PairRecord> {
    for await (const { key, value } of this.#journal.listAll<PairState>(PAIR)) {
      const [from, to] = [PeerId.fromBytes(bytesOf(key[2])), PeerId.fromBytes(bytesOf(key[3]))];
      if (!isWholePair(value)) throw new TypeError("A record of the mailbox is damaged");
      yield { from, to, record: new LiveRecord(key, value) };
    }
  }

  /** The record of a pair that has none yet. */
  newPair(from: PeerId, to: PeerId): PairRecord {
    return { from, to, record: new LiveRecord<PairState>([...PAIR, from.bytes, to.bytes]) };
  }

  findId(from: PeerId, to: PeerId, msgId: Uint8Array): Promise<IdRecord | null> {
    return this.#journal.get<IdRecord>(idKey(from, to, msgId));
  }

  /** Writes what is large about a body: a small one is ready. {@linkcode KvMailboxStore.addOps} */
  prepareBody(bytes: Uint8Array): PreparedBody | Promise<PreparedBody> {
    if (bytes.length <= INLINE_BYTES) return { bytes, value: bytes.slice(), ops: [] };
    return this.#blobs.storeBody(bytes).then(({ value, ops }) => (
      { bytes, value: value instanceof Uint8Array ? null : value, ops }
    ));
  }

  async abandonBody({ value }: PreparedBody): Promise<void> {
    if (value !== null) await this.#blobs.abandon(value);
  }

  /** A new message of `pair`; a shared body is added apart. */
  addOps(message: MailboxMessage, pair: LiveRecord<PairState>, body?: PreparedBody): KvOperation[] {
    const { from, to, order, hash, msgId } = message;
    const record: IdRecord = { hash };
    const ops: KvOperation[] = [
      ...body?.ops ?? [],
      { type: "set", key: waitingKey(message), value: encodeWaiting(message), fresh: true },
      { type: "set", key: idKey(from, to, msgId), value: record },
      pair.change((state) => withMessage(state, message)),
    ];
    if (message.body === null && body) {
      ops.push({ type: "set", key: [...BODY, to.bytes, order], value: body.bytes.slice() });
    }
    return ops;
  }

  /** A waiting message with another time of acceptance. */
  restampOps(message: MailboxMessage): KvOperation[] {
    return [{ type: "set", key: waitingKey(message), value: encodeWaiting(message) }];
  }

  /**
   * The end of a message: it and its body go, its id is remembered until `forgetAt`, and its
   * sender's receipt is there, unless `receipt` is `null`.
   */
  endOps(
    message: MailboxMessage,
    outcome: Outcome,
    times: { readonly at: number; readonly forgetAt: number },
    receipt: number | null,
    pair: LiveRecord<PairState>,
  ): KvOperation[] {
    const { from, to, msgId, order, hash, body } = message;
    const record: IdRecord = { hash, end: { ...outcome, at: times.at, receipt } };
    const ops: KvOperation[] = [
      { type: "delete", key: waitingKey(message) },
      ...this.#bodyDeleteOps(to, order, body),
      { type: "set", key: idKey(from, to, msgId), value: record },
      { type: "set", key: endedKey(times.forgetAt, from, to, msgId), value: 1, fresh: true },
      pair.change((state) => state && withoutMessage(state, message)),
    ];
    if (receipt !== null) {
      const key = [...RECEIPT, from.bytes, receipt];
      ops.push({ type: "set", key, value: { msgId, ...outcome }, fresh: true });
    }
    return ops;
  }

  #bodyDeleteOps(to: PeerId, order: number, body: MailboxMessage["body"]): KvOperation[] {
    if (body === null) return [{ type: "delete", key: [...BODY, to.bytes, order] }];
    return isShared(body) ? [] : this.#blobs.bodyDeleteOps(body);
  }

  /** The body, or `undefined` when it is damaged, was deleted, or is shared. */
  async readBody({ to, order, size, hash: expected, body }: MailboxMessage): Promise<
    Uint8Array | undefined
  > {
    if (isShared(body)) return undefined;
    const bytes = body === null
      ? (await this.#kv.get<StoredBody>([...BODY, to.bytes, order])).value
      : await this.#blobs.readBody(body);
    if (!(bytes instanceof Uint8Array) || bytes.length !== size) return undefined;
    return equalBytes(hashOf(bytes), expected) ? bytes : undefined;
  }

  /** Of the first `limit` receipts for `sender` with an order above `after` the sound ones. */
  async receipts(sender: PeerId, after: number, limit: number): Promise<Receipt[]> {
    const prefix = [...RECEIPT, sender.bytes];
    const found = await this.#journal.listAfter<StoredReceipt>(prefix, after, limit);
    return found.flatMap(({ number: order, value }) => {
      if (value === undefined) return [];
      const { msgId, ...outcome } = value;
      return { order, msgId, outcome };
    });
  }

  forgetReceiptOp(sender: PeerId, order: number): KvOperation {
    return { type: "delete", key: [...RECEIPT, sender.bytes, order] };
  }

  async hasReceipt(sender: PeerId, order: number): Promise<boolean> {
    return await this.#journal.get([...RECEIPT, sender.bytes, order]) !== null;
  }

  /** Up to `limit` remembered ids, those to be forgotten first in front. */
  async ended(limit: number): Promise<Ended[]> {
    await this.#journal.settle();
    const found: Ended[] = [];
    for await (const { key } of this.#kv.list({ prefix: ENDED }, { limit })) {
      found.push({
        key,
        forgetAt: Number(key[2]),
        from: PeerId.fromBytes(bytesOf(key[3])),
        to: PeerId.fromBytes(bytesOf(key[4])),
        msgId: bytesOf(key[5]),
      });
    }
    return found;
  }

  /** Forgets an id and, with it, a receipt that was never fetched. */
  forgetOps(ended: Ended, receipt: number | null): KvOperation[] {
    const ops: KvOperation[] = [
      { type: "delete", key: ended.key },
      { type: "delete", key: idKey(ended.from, ended.to, ended.msgId) },
    ];
    if (receipt !== null) ops.push(this.forgetReceiptOp(ended.from, receipt));
    return ops;
  }

  rememberOps(ended: Ended, forgetAt: number): KvOperation[] {
    return [
      { type: "delete", key: ended.key },
      { type: "set", key: endedKey(forgetAt, ended.from, ended.to, ended.msgId), value: 1 },
    ];
  }

  leavingOp(peer: PeerId): KvOperation {
    return { type: "set", key: [...LEAVING, peer.bytes], value: 1 };
  }

  leftOp(peer: PeerId): KvOperation {
    return { type: "delete", key: [...LEAVING, peer.bytes] };
  }

  /** Peers whose unpairing was cut short. */
  async leaving(): Promise<PeerId[]> {
    const peers: PeerId[] = [];
    for await (const { key } of this.#kv.list({ prefix: LEAVING })) {
      peers.push(PeerId.fromBytes(bytesOf(key[2])));
    }
    return peers;
  }
}

function isJournaled(key: Deno.KvKey): boolean {
  return key[0] === ROOT && JOURNALED.has(key[1]);
}

function waitingKey({ from, to, order }: MailboxMessage): Deno.KvKey {
  return [...WAITING, to.bytes, from.bytes, order];
}

function idKey(from: PeerId, to: PeerId, msgId: Uint8Array): Deno.KvKey {
  return [...ID, from.bytes, to.bytes, msgId];
}

function endedKey(forgetAt: number, from: PeerId, to: PeerId, msgId: Uint8Array): Deno.KvKey {
  return [...ENDED, forgetAt, from.bytes, to.bytes, msgId];
}

function bytesOf(part: Deno.KvKeyPart | undefined): Uint8Array {
  if (!(part instanceof Uint8Array)) throw new TypeError("A record's key is damaged");
  return part;
}
