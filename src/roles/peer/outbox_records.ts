import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvBlobs } from "../kv_blobs.ts";
import type { KvStore } from "../kv_store.ts";
import { isIntact } from "./message_check.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";

/**
 * The record of a message, `outbox / recipient / sequence`. Once it has a ciphertext, a
 * {@linkcode Wire} is at `wire / recipient / sequence`.
 */
type StoredEntry = Pick<
  OutboxEntry,
  "id" | "channel" | "sentAt" | "data" | "check" | "failures" | "unreadable"
>;

/** What tells the records of one message from those of others. */
type RecordName = Pick<OutboxEntry, "recipient" | "sequence">;

/** Writes a message's record. */
export function entryOp(entry: RecordName & StoredEntry): KvOperation {
  const { id, channel, sentAt, data, check, failures, unreadable } = entry;
  const value: StoredEntry = {
    ...{ id, channel, sentAt, data, check, failures },
    ...(unreadable !== undefined && { unreadable }),
  };
  return { type: "set", key: keyOf("outbox", entry), value };
}

/** Deletes it. */
export function entryRemoval(entry: RecordName): KvOperation {
  return { type: "delete", key: keyOf("outbox", entry) };
}

/** Writes the record of a message's ciphertext. */
export function wireOp(entry: RecordName, wire: Wire): KvOperation {
  return { type: "set", key: keyOf("wire", entry), value: wire };
}

/** Deletes a message's ciphertext, if it has one. */
export function wireRemoval(entry: OutboxEntry, blobs: KvBlobs): KvOperation[] {
  if (!entry.wire) return [];
  return [
    { type: "delete", key: keyOf("wire", entry) },
    ...blobs.bodyDeleteOps(entry.wire.body),
  ];
}

/**
 * Reads every message with its ciphertext, and sweeps what a crash left without its message.
 *
 * @throws {Error} when a message is damaged.
 */
export async function readOutbox(
  kv: KvStore,
  commit: GroupCommit,
  blobs: KvBlobs,
): Promise<OutboxEntry[]> {
  const wires = new Map<string, { readonly key: Deno.KvKey; readonly wire: Wire }>();
  for await (const { key, value } of kv.list<Wire>({ prefix: ["wire"] })) {
    wires.set(`${String(key[1])} ${String(key[2])}`, { key, wire: value });
  }
  const entries: OutboxEntry[] = [];
  for await (const { key, value } of kv.list<StoredEntry>({ prefix: ["outbox"] })) {
    const recipient = PeerId.parse(String(key[1]));
    if (!recipient) continue;
    const name = `${String(key[1])} ${String(key[2])}`;
    const wire = wires.get(name)?.wire;
    wires.delete(name);
    const sequence = Number(key[2]);
    const entry: OutboxEntry = { ...value, recipient, sequence, wire, refusedBy: new Set() };
    const { data } = entry;
    if (data instanceof Uint8Array && !isIntact({ ...entry, data }, entry.check)) {
      throw new Error("A message in the outbox is damaged");
    }
    entries.push(entry);
  }
  for (const { key, wire } of wires.values()) {
    await commit.commit([{ type: "delete", key }, ...blobs.bodyDeleteOps(wire.body)]);
  }
  return entries;
}

function keyOf(kind: "outbox" | "wire", { recipient, sequence }: RecordName): Deno.KvKey {
  return [kind, recipient.toString(), sequence];
}
