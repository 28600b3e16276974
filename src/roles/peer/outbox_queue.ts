import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { isSharedData } from "./outbox_bodies.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";

/** The messages of the outbox in memory: in order per recipient, and found by their ids. */
export class OutboxQueue {
  readonly #entries = new Map<string, OutboxEntry[]>();
  readonly #byOuterId = new Map<string, OutboxEntry>();
  /** Those that share a body, by message id. */
  readonly #sharing = new Map<string, Set<OutboxEntry>>();

  /** Recipients with messages that lack a receipt. */
  recipients(): PeerId[] {
    return [...this.#entries.values()].flatMap((entries) => entries[0]?.recipient ?? []);
  }

  /** Messages to `recipient` without a receipt, in order. */
  entries(recipient: PeerId): readonly OutboxEntry[] {
    return this.#entries.get(recipient.toString()) ?? [];
  }

  has(entry: OutboxEntry): boolean {
    return this.entries(entry.recipient).includes(entry);
  }

  /** The message of one of whose ciphertexts this is the id. */
  byOuterId(outerId: Uint8Array): OutboxEntry | undefined {
    return this.#byOuterId.get(toHex(outerId));
  }

  /** Every message that shares its body with `entry`, itself among them. */
  sharing({ id }: OutboxEntry): OutboxEntry[] {
    return [...this.#sharing.get(toHex(id)) ?? []];
  }

  add(entry: OutboxEntry): void {
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
  }

  remove(entry: OutboxEntry): void {
    const text = entry.recipient.toString();
    const entries = this.#entries.get(text) ?? [];
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
    if (entries.length === 0) this.#entries.delete(text);
    if (entry.wire) this.#forgetIds(entry.wire);
    const sharing = this.#sharing.get(toHex(entry.id));
    sharing?.delete(entry);
    if (sharing?.size === 0) this.#sharing.delete(toHex(entry.id));
  }

  /** A message has another ciphertext, by whose ids it is found, or none. */
  setWire(entry: OutboxEntry, wire: Wire | undefined): void {
    if (entry.wire) this.#forgetIds(entry.wire);
    if (wire) this.#noteIds(entry, wire);
    entry.wire = wire;
  }

  #noteIds(entry: OutboxEntry, { outerId, earlier = [] }: Wire): void {
    for (const id of [outerId, ...earlier]) this.#byOuterId.set(toHex(id), entry);
  }

  #forgetIds({ outerId, earlier = [] }: Wire): void {
    for (const id of [outerId, ...earlier]) this.#byOuterId.delete(toHex(id));
  }
}
