import type { ForwardDeliver } from "../../protocol/forward_messages.ts";
import { isDamage } from "../store_damage.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxMessage } from "./mailbox_records.ts";
import { isShared } from "./mailbox_shared.ts";

/** The body of a message as its recipient gets it. */
export type StoredDelivery = Pick<ForwardDeliver, "encryptedPayload" | "sharedBody">;

/** The body, or `undefined` when it is damaged, which concerns this message alone. */
export async function readDelivery(
  store: KvMailboxStore,
  message: MailboxMessage,
): Promise<StoredDelivery | undefined> {
  try {
    const { body } = message;
    if (isShared(body)) return await store.shared.read(message, body);
    const encryptedPayload = await store.readBody(message);
    return encryptedPayload && { encryptedPayload };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}
