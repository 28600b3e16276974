import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxDelivery } from "./mailbox_delivery.ts";

/** So many messages are looked into, so many of one pair: a start must not take long. */
const MESSAGES = 2_000;
const MESSAGES_OF_PAIR = 100;

/**
 * Looks into some of what waits, so that damage shows at the start rather than in the middle of the
 * work.
 *
 * @throws {TypeError} that says that a record is damaged.
 */
export async function lookInto(store: KvMailboxStore, delivery: MailboxDelivery): Promise<void> {
  let left = MESSAGES;
  for (const { from, to } of delivery.lanes()) {
    if (left <= 0) return;
    const { messages, damaged } = await store.waiting(from, to, -1, MESSAGES_OF_PAIR);
    if (damaged.length > 0) throw new TypeError("A record of the mailbox is damaged");
    for (const oldest of messages.slice(0, 1)) delivery.noteHead(oldest);
    left -= messages.length;
  }
}
