import type { CairnError } from "../../base/errors.ts";
import { formatUuid } from "../../protocol/uuid.ts";
import type { Listeners } from "./listeners.ts";
import type { NodeEvents, SentMessage } from "./node_api.ts";
import type { OutboxEntry, OutboxEvents } from "./outbox_entry.ts";

/** What becomes of the messages that this process has sent: told to their senders and as events. */
export class SentMessages {
  readonly #fates = new Map<OutboxEntry, PromiseWithResolvers<void>>();

  /** From here on takes what `outbox` tells. */
  constructor(outbox: OutboxEvents, listeners: Listeners<NodeEvents>) {
    outbox.accepted = (entry) => this.#fates.get(entry)?.resolve();
    outbox.delivered = (entry) => {
      this.#fates.get(entry)?.resolve();
      listeners.emit("delivered", { id: formatUuid(entry.id), to: entry.recipient });
    };
    outbox.refused = (entry, error, dropped) => {
      this.#fates.get(entry)?.reject(error);
      // Messages keep their order: what is behind one that must wait waits with it.
      for (const [other, fate] of dropped ? [] : this.#fates) {
        if (other.recipient.equals(entry.recipient)) fate.reject(error);
      }
      const id = formatUuid(entry.id);
      listeners.emit("refused", { id, to: entry.recipient, error, dropped });
    };
  }

  /** A message is in the outbox. */
  track(entry: OutboxEntry): SentMessage {
    const fate = Promise.withResolvers<void>();
    fate.promise.catch(() => {}).finally(() => this.#fates.delete(entry));
    this.#fates.set(entry, fate);
    return { id: formatUuid(entry.id), accepted: fate.promise };
  }

  /** Nobody will be told by this process any more. */
  abandon(error: CairnError): void {
    for (const fate of this.#fates.values()) fate.reject(error);
  }
}
