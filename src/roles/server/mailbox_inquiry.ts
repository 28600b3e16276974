import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxDelivery } from "./mailbox_delivery.ts";
import type { IdRecord, MailboxMessage } from "./mailbox_records.ts";
import { readDelivery, type StoredDelivery } from "./stored_delivery.ts";

/** So many messages are looked at at a time. */
const PAGE = 64;

/** What the store knows of a message: that it waits, or for a time how it ended. */
export interface KnownMessage {
  readonly from: PeerId;
  readonly to: PeerId;
  /** Left out when it has ended. */
  readonly waiting?: MailboxMessage;
  readonly end?: IdRecord["end"];
}

/** Questions about single messages that an operator asks now and then; they cost some reading. */
export class MailboxInquiry {
  readonly #store: KvMailboxStore;
  readonly #delivery: MailboxDelivery;

  constructor(store: KvMailboxStore, delivery: MailboxDelivery) {
    this.#store = store;
    this.#delivery = delivery;
  }

  /** What waits for `peer`, with bodies as they came; `undefined` for one that is damaged. */
  async *waitingFor(
    peer: PeerId,
  ): AsyncGenerator<
    { readonly message: MailboxMessage; readonly delivery: StoredDelivery | undefined }
  > {
    for (const { from, to } of this.#delivery.lanes(peer)) {
      for await (const message of this.#lane(from, to)) {
        yield { message, delivery: await readDelivery(this.#store, message) };
      }
    }
  }

  /** What of `peer` waits for others. */
  async *waitingFrom(peer: PeerId): AsyncGenerator<MailboxMessage> {
    for (const { from, to } of this.#delivery.lanes()) {
      if (from.equals(peer)) yield* this.#lane(from, to);
    }
  }

  /** Every message of this id, of which each pair of peers may have one. */
  async find(msgId: Uint8Array): Promise<KnownMessage[]> {
    const found: KnownMessage[] = [];
    const id = toHex(msgId);
    for await (const { from, to } of this.#store.pairs()) {
      const known = await this.#store.findId(from, to, msgId);
      if (known === null) continue;
      if (known.end) found.push({ from, to, end: known.end });
      else found.push({ from, to, ...await this.#waiting(from, to, id) });
    }
    return found;
  }

  async #waiting(from: PeerId, to: PeerId, id: string): Promise<Pick<KnownMessage, "waiting">> {
    for await (const waiting of this.#lane(from, to)) if (waiting.id === id) return { waiting };
    return {};
  }

  async *#lane(from: PeerId, to: PeerId): AsyncGenerator<MailboxMessage> {
    for (let after = -1;;) {
      const { messages, last, isLast } = await this.#store.waiting(from, to, after, PAGE);
      yield* messages;
      if (isLast) return;
      after = last;
    }
  }
}
