import { toHex } from "../../base/bytes.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { writeAtOnce } from "../group_commit.ts";
import type { BlobRef } from "../kv_blobs.ts";
import type { Migrations } from "../store_migration.ts";
import { decodeWaiting, encodeWaiting, type PairState } from "./mailbox_records.ts";

const RECORDS_AT_ONCE = 200;

/** A waiting message of format 1, below `mailbox / queue / recipient / order`. */
interface QueueRecord {
  readonly msgId: Uint8Array;
  readonly from: Uint8Array;
  readonly sequence: number;
  readonly size: number;
  readonly at: number;
  readonly hash: Uint8Array;
  readonly blob: BlobRef | null;
}

/** How a server's store comes to the present format. */
export const SERVER_MIGRATIONS: Migrations = new Map([
  [1, waitingBySender],
  // Format 3: a body may be shared. All that was written before stays as it is.
  [2, () => Promise.resolve()],
]);

/** Format 2: what waits lies sender by sender, and its pair knows how much that is. */
async function waitingBySender(kv: Deno.Kv): Promise<void> {
  let moves: Parameters<typeof writeAtOnce>[1][number][] = [];
  const queue = kv.list<QueueRecord>({ prefix: ["mailbox", "queue"] });
  for await (const { key, value } of queue) {
    const [, , to, order] = key;
    const { from, sequence, size, at, hash, msgId, blob } = value;
    const record = encodeWaiting({
      order: Number(order),
      id: toHex(msgId),
      sender: PeerId.fromBytes(from).toString(),
      size,
      acceptedAt: at,
      msgId,
      from: PeerId.fromBytes(from),
      to: PeerId.fromBytes(bytesOf(to)),
      sequence,
      hash,
      body: blob,
    });
    moves.push(
      { type: "set", key: ["mailbox", "waiting", bytesOf(to), from, Number(order)], value: record },
      { type: "delete", key },
    );
    if (moves.length < RECORDS_AT_ONCE) continue;
    await writeAtOnce(kv, moves);
    moves = [];
  }
  if (moves.length > 0) await writeAtOnce(kv, moves);
  await countPairs(kv);
}

async function countPairs(kv: Deno.Kv): Promise<void> {
  const pairs = kv.list<Pick<PairState, "lastAccepted" | "at">>({ prefix: ["mailbox", "pair"] });
  for await (const { key, value: { lastAccepted, at } } of pairs) {
    const [from, to] = [PeerId.fromBytes(bytesOf(key[2])), PeerId.fromBytes(bytesOf(key[3]))];
    let highestId = new Uint8Array(16);
    const ids = { prefix: ["mailbox", "id", from.bytes, to.bytes] };
    for await (const id of kv.list(ids, { reverse: true, limit: 1 })) {
      highestId = bytesOf(id.key[4]).slice();
    }
    let [messages, bytes] = [0, 0];
    const waiting = kv.list({ prefix: ["mailbox", "waiting", to.bytes, from.bytes] });
    for await (const { key: [, , , , order], value } of waiting) {
      messages++;
      bytes += decodeWaiting(value, { from, to, order: Number(order) }).size;
    }
    await kv.set(key, { lastAccepted, at, highestId, messages, bytes } satisfies PairState);
  }
}

function bytesOf(part: Deno.KvKeyPart | undefined): Uint8Array {
  if (!(part instanceof Uint8Array)) throw new TypeError("A record's key is damaged");
  return part;
}
