import { equalBytes } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { undeliverableError } from "./refusals.ts";
import type { SessionStore } from "./session_store.ts";

/** Ends of a message after which it is encrypted once more, in a new session. */
const TO_SEND_AGAIN = ["cannot be opened", "damaged in the mailbox"];
/** After so many failures of the recipient to open a message it is given up. */
const MAX_FAILURES = 5;

/**
 * Durably records how a message ended; only then may the mailbox forget it. Returns its recipient,
 * or `undefined` when the message is not known any more.
 */
export async function takeReceipt(
  ack: ForwardAck,
  { outbox, sessions }: { readonly outbox: Outbox; readonly sessions: SessionStore },
): Promise<PeerId | undefined> {
  const entry = outbox.byOuterId(ack.msgId);
  if (!entry) return undefined;
  await sessions.locked(entry.recipient, async () => {
    const { wire } = entry;
    if (!outbox.has(entry) || !wire) return;
    if (!equalBytes(wire.outerId, ack.msgId)) {
      // Of a mailbox from which another one took over: it need not have given up.
      return ack.delivered ? await outbox.delivered(entry) : undefined;
    }
    await outbox.wires.accepted(entry, wire);
    if (ack.delivered) return await outbox.delivered(entry);
    const reason = ack.rejectionReason ?? "no reason given";
    await endUndelivered(entry, reason, { outbox, sessions });
  });
  return entry.recipient;
}

/**
 * The message did not arrive: it is encrypted once more where that can help, else given up. The
 * caller has locked the sessions with its recipient.
 */
export async function endUndelivered(
  entry: OutboxEntry,
  reason: string,
  { outbox, sessions }: { readonly outbox: Outbox; readonly sessions: SessionStore },
): Promise<void> {
  if (TO_SEND_AGAIN.includes(reason) && entry.failures < MAX_FAILURES) {
    await sessions.retire(entry.recipient);
    return await outbox.reopen(entry);
  }
  await outbox.drop(entry, undeliverableError(entry.recipient, reason));
}
