import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { encodeForwardPurge, type ForwardDeliver } from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { Inbox } from "./inbox.ts";

const log = getLogger(["cairn", "peer"]);

const PURGES_PER_MESSAGE = 64;
/** Deliveries not dealt with yet: a sender has at most 256 under way, and no more than fit its buffers. */
const MAX_WAITING = 320;
const MAX_WAITING_BYTES = 320 * 1_048_576;

/** What an intake stands on. */
export interface DeliveryIntakeParts {
  readonly link: LinkConnection;
  readonly inbox: Inbox;
  readonly host: Host;
  /** What a step failed with; it closes the link. */
  readonly fail: (error: unknown) => void;
}

/**
 * Deals with what comes over one link, one thing after another, so that the order is the sender's,
 * and tells the other end which deliveries it need not keep any longer.
 */
export class DeliveryIntake {
  readonly #parts: DeliveryIntakeParts;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;
  #stored: Uint8Array[] = [];
  #failed: Uint8Array[] = [];
  #refused: Uint8Array[] = [];
  #leftBehind = false;
  #stopped = false;
  #gapTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: DeliveryIntakeParts) {
    this.#parts = parts;
  }

  /** @throws {ProtocolError} `too-large` when more waits than the other end may send. */
  take(delivery: ForwardDeliver, size: number): void {
    this.enqueue(() => this.#take(delivery), size);
  }

  /** The other end has nothing more: of anybody, or of `sender` when that is given. */
  drained(sender?: PeerId): void {
    this.enqueue(() => this.#onDrained(sender));
  }

  /** Runs `step` after everything that came before it, unless the link has ended by then. */
  enqueue(step: () => Promise<void>, size = 0): void {
    this.#waitingBytes += size;
    if (++this.#waiting > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) {
      throw new ProtocolError("too-large", "More deliveries at once than a mailbox may send");
    }
    this.#work = this.#work.then(async () => {
      this.#waiting--;
      this.#waitingBytes -= size;
      if (this.#parts.link.closed || this.#stopped) return;
      await step();
      const ended = this.#stored.length + this.#failed.length + this.#refused.length;
      if (this.#waiting === 0 || ended >= PURGES_PER_MESSAGE) this.#purge();
    }).catch((error) => this.#parts.fail(error));
  }

  /** The application has made room: what was left with the other end is fetched on another link. */
  roomMade(): void {
    if (this.#leftBehind && this.#parts.inbox.hasRoom) this.#parts.link.close("going-away");
  }

  /** Takes no more deliveries; resolves when the one under way is stored and purged. */
  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#gapTimer);
    await this.#work;
    this.#purge();
  }

  async #take(delivery: ForwardDeliver): Promise<void> {
    switch (await this.#parts.inbox.take(delivery)) {
      case "stored":
        this.#stored.push(delivery.msgId);
        break;
      case "failed":
        log.warn("A message could not be opened; its sender is asked to send it again");
        this.#failed.push(delivery.msgId);
        break;
      case "refused":
        this.#refused.push(delivery.msgId);
        break;
      case "later":
        this.#leftBehind = true;
    }
  }

  async #onDrained(sender: PeerId | undefined): Promise<void> {
    const again = await this.#parts.inbox.drained(sender);
    clearTimeout(this.#gapTimer);
    if (again === undefined || this.#stopped) return;
    const wait = Math.max(0, again - this.#parts.host.now());
    this.#gapTimer = setTimeout(() => {
      if (this.#waiting === 0) this.drained(sender);
    }, wait);
  }

  #purge(): void {
    const [msgIds, failed, refused] = [this.#stored, this.#failed, this.#refused];
    if (msgIds.length + failed.length + refused.length === 0) return;
    const purge = encodeForwardPurge({ msgIds, failed, refused });
    this.#parts.link.send(MessageType.ForwardPurge, purge);
    this.#stored = [];
    this.#failed = [];
    this.#refused = [];
  }
}
