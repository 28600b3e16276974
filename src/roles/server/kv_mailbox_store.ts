import { toHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import { type BlobRef, KvBlobs, type StoredBody } from "../kv_blobs.ts";
import type {
  Ended,
  IdRecord,
  MailboxMessage,
  Outcome,
  PairRecord,
  Receipt,
} from "./mailbox_records.ts";

interface QueueValue {
  readonly msgId: Uint8Array;
  readonly from: Uint8Array;
  readonly sequence: number;
  readonly size: number;
  readonly at: number;
  readonly hash: Uint8Array;
  readonly blob: BlobRef | null;
}

const ROOT = "mailbox";
const QUEUE = [ROOT, "queue"];
const BODY = [ROOT, "body"];
const ID = [ROOT, "id"];
const PAIR = [ROOT, "pair"];
const RECEIPT = [ROOT, "receipt"];
const ENDED = [ROOT, "ended"];
const LEAVING = [ROOT, "leaving"];
const RUNS = [ROOT, "runs"];
/** Orders of one run of the program start at `run × ORDERS_PER_RUN`; both fit a safe integer. */
const ORDERS_PER_RUN = 2 ** 33;

/**
 * The mailbox in Deno KV: which records there are and which operations change them. Everything that
 * belongs together is one commit.
 *
 * - `queue / recipient / order` and `body / recipient / order`: a message that waits
 * - `id / sender / recipient / message id`: every id that must not be stored again
 * - `ended / time / …`: when such an id may be forgotten
 * - `pair / sender / recipient`: the last accepted sequence
 * - `receipt / sender / order`: what the sender has yet to be told
 * - `leaving / peer`: an unpairing under way
 */
export class KvMailboxStore {
  readonly #kv: Deno.Kv;
  readonly #blobs: KvBlobs;
  #nextOrder: number;

  private constructor(kv: Deno.Kv, blobs: KvBlobs, run: number) {
    this.#kv = kv;
    this.#blobs = blobs;
    this.#nextOrder = run * ORDERS_PER_RUN;
  }

  static async open(kv: Deno.Kv, commit: GroupCommit, host: Host): Promise<KvMailboxStore> {
    const run = ((await kv.get<number>(RUNS)).value ?? 0) + 1;
    await commit.commit([{ type: "set", key: RUNS, value: run }]);
    const blobs = new KvBlobs(kv, commit, [ROOT, "blob"], host);
    await blobs.sweepStaged();
    return new KvMailboxStore(kv, blobs, run);
  }

  /** A number above all that were given out before, in this run and earlier ones. */
  nextOrder(): number {
    return this.#nextOrder++;
  }

  /** Every waiting message in order of acceptance per recipient; bodies are not read. */
  async *messages(): AsyncGenerator<MailboxMessage> {
    const peers = new Map<string, PeerId>();
    const peer = (bytes: Uint8Array) => {
      const text = toHex(bytes);
      const known = peers.get(text) ?? PeerId.fromBytes(bytes);
      peers.set(text, known);
      return known;
    };
    for await (const { key, value } of this.#kv.list<QueueValue>({ prefix: QUEUE })) {
      if (!isWhole(value)) throw new TypeError("A record of the mailbox is damaged");
      const from = peer(value.from);
      yield {
        order: Number(key[3]),
        id: toHex(value.msgId),
        sender: from.toString(),
        size: value.size,
        acceptedAt: value.at,
        ending: false,
        msgId: value.msgId,
        from,
        to: peer(bytesOf(key[2])),
        sequence: value.sequence,
        hash: value.hash,
        blob: value.blob,
      };
    }
  }

  async *pairs(): AsyncGenerator<PairRecord> {
    const records = this.#kv.list<{ lastAccepted: number; at: number }>({ prefix: PAIR });
    for await (const { key, value } of records) {
      const from = PeerId.fromBytes(bytesOf(key[2]));
      yield { ...value, from, to: PeerId.fromBytes(bytesOf(key[3])) };
    }
  }

  async findId(from: PeerId, to: PeerId, msgId: Uint8Array): Promise<IdRecord | null> {
    return (await this.#kv.get<IdRecord>(idKey(from, to, msgId))).value;
  }

  /** Writes what is large about a body; the rest goes with {@linkcode KvMailboxStore.addOps}. */
  storeBody(bytes: Uint8Array): Promise<{ value: StoredBody; ops: KvOperation[] }> {
    return this.#blobs.storeBody(bytes);
  }

  abandonBody(body: StoredBody): Promise<void> {
    return this.#blobs.abandon(body);
  }

  /** A new message; `body` is what {@linkcode KvMailboxStore.storeBody} returned. */
  addOps(
    message: MailboxMessage,
    body: { value: StoredBody; ops: KvOperation[] },
  ): KvOperation[] {
    const { from, to, order, hash } = message;
    const record: IdRecord = { hash };
    const ops: KvOperation[] = [
      ...body.ops,
      { type: "set", key: [...QUEUE, to.bytes, order], value: queueValue(message) },
      { type: "set", key: idKey(from, to, message.msgId), value: record },
      this.pairOp({ from, to, lastAccepted: message.sequence, at: message.acceptedAt }),
    ];
    if (body.value instanceof Uint8Array) {
      ops.push({ type: "set", key: [...BODY, to.bytes, order], value: body.value });
    }
    return ops;
  }

  pairOp({ from, to, lastAccepted, at }: PairRecord): KvOperation {
    return { type: "set", key: [...PAIR, from.bytes, to.bytes], value: { lastAccepted, at } };
  }

  forgetPairOp(from: PeerId, to: PeerId): KvOperation {
    return { type: "delete", key: [...PAIR, from.bytes, to.bytes] };
  }

  /** A waiting message with another time of acceptance. */
  restampOps(message: MailboxMessage): KvOperation[] {
    const key = [...QUEUE, message.to.bytes, message.order];
    return [{ type: "set", key, value: queueValue(message) }];
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
  ): KvOperation[] {
    const { from, to, msgId, order, hash, blob } = message;
    const record: IdRecord = { hash, end: { ...outcome, at: times.at, receipt } };
    const ops: KvOperation[] = [
      { type: "delete", key: [...QUEUE, to.bytes, order] },
      ...(blob === null
        ? [{ type: "delete", key: [...BODY, to.bytes, order] } as const]
        : this.#blobs.deleteOps(blob)),
      { type: "set", key: idKey(from, to, msgId), value: record },
      { type: "set", key: endedKey(times.forgetAt, from, to, msgId), value: 1 },
    ];
    if (receipt !== null) {
      const value = { msgId, ...outcome };
      ops.push({ type: "set", key: [...RECEIPT, from.bytes, receipt], value });
    }
    return ops;
  }

  /** The body, or `undefined` when it is damaged or was deleted. */
  async readBody(message: MailboxMessage): Promise<Uint8Array | undefined> {
    if (message.blob !== null) return await this.#blobs.readBody(message.blob);
    const key = [...BODY, message.to.bytes, message.order];
    const { value } = await this.#kv.get<Uint8Array>(key);
    return value?.length === message.size ? value : undefined;
  }

  /** Up to `limit` receipts for `sender` with an order above `after`. */
  async receipts(sender: PeerId, after: number, limit: number): Promise<Receipt[]> {
    const prefix = [...RECEIPT, sender.bytes];
    const start = [...prefix, after + 1];
    const found: Receipt[] = [];
    const records = this.#kv.list<{ msgId: Uint8Array } & Outcome>({ prefix, start }, { limit });
    for await (const { key, value } of records) {
      const { msgId, ...outcome } = value;
      found.push({ order: Number(key[3]), msgId, outcome });
    }
    return found;
  }

  forgetReceiptOp(sender: PeerId, order: number): KvOperation {
    return { type: "delete", key: [...RECEIPT, sender.bytes, order] };
  }

  async hasReceipt(sender: PeerId, order: number): Promise<boolean> {
    return (await this.#kv.get([...RECEIPT, sender.bytes, order])).versionstamp !== null;
  }

  /** Up to `limit` remembered ids, those to be forgotten first in front. */
  async ended(limit: number): Promise<Ended[]> {
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

function queueValue(message: MailboxMessage): QueueValue {
  const { msgId, from, sequence, size, acceptedAt, hash, blob } = message;
  return { msgId, from: from.bytes, sequence, size, at: acceptedAt, hash, blob };
}

/** A flipped bit may leave a record that can be read and lacks a field. */
function isWhole({ msgId, from, hash, sequence, size, at }: QueueValue): boolean {
  return [msgId, from, hash].every((field) => field instanceof Uint8Array) &&
    [sequence, size, at].every(Number.isFinite);
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
