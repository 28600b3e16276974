import { getLogger } from "@logtape/logtape";
import { formatUuid } from "../../protocol/uuid.ts";
import type { Inbox } from "./inbox.ts";
import type { Listeners } from "./listeners.ts";
import type { NodeEvents } from "./node_api.ts";

const log = getLogger(["cairn", "peer"]);

/** Tells what message handlers do from what the rest of the application does. */
export interface HandlerScope {
  /** Runs the handlers of one message. */
  run(work: () => Promise<void>): Promise<void>;
  /** Whether a handler that is under way is asking, or might be. */
  readonly isInside: boolean;
}

/**
 * Hands what the inbox has released to the application's handlers, one message at a time, in order,
 * and acknowledges each after its handlers have resolved. One that fails is shown again at the next
 * start.
 */
export class Dispatcher {
  readonly #inbox: Inbox;
  readonly #listeners: Listeners<NodeEvents>;
  readonly #onAcknowledged: () => void;
  readonly #scope: HandlerScope;
  #running: Promise<void> | undefined;
  #last = 0;
  #woken = false;
  #closed = false;

  constructor(
    inbox: Inbox,
    listeners: Listeners<NodeEvents>,
    scope: HandlerScope,
    onAcknowledged: () => void,
  ) {
    this.#inbox = inbox;
    this.#listeners = listeners;
    this.#scope = scope;
    this.#onAcknowledged = onAcknowledged;
  }

  /** There may be something to hand over. */
  wake(): void {
    this.#woken = true;
    if (this.#closed) return;
    this.#running ??= this.#run().catch((error) => {
      log.error("Messages could not be handed over: {error}", { error });
    }).finally(() => {
      this.#running = undefined;
      if (this.#woken) this.wake();
    });
  }

  /** Whether the caller is a handler of the message under way. */
  get isHandling(): boolean {
    return this.#scope.isInside;
  }

  /** Resolves when the handlers of the message under way have, and it was acknowledged. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#woken = false;
    while (this.#listeners.has("message") && !this.#closed) {
      const next = await this.#inbox.next(this.#last);
      if (!next) return;
      const { arrival, from, message: { id, ...rest } } = next;
      const { channel, data, sentAt, unreadable } = rest;
      const message = {
        ...{ id: formatUuid(id), from, channel, data, sentAt },
        ...(unreadable !== undefined && { unreadable }),
      };
      const acknowledge = () => this.#inbox.acknowledge(arrival);
      await this.#scope.run(() => this.#listeners.deliver("message", message, acknowledge));
      this.#last = arrival;
      this.#onAcknowledged();
    }
  }
}
