import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import {
  decodeForwardAck,
  decodeForwardDeliver,
  decodeMailboxStatus,
  decodeSequenceReport,
  encodeForwardPurge,
  type ForwardDeliver,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { decodePairRevoke } from "../../protocol/pairing_messages.ts";
import { encodeVersionNegotiate } from "../../protocol/session_messages.ts";
import { decodePrekeyBundle, encodePrekeyPublish } from "../../protocol/prekey_messages.ts";
import type { LinkConnection } from "../link_connection.ts";
import { Courier, type CourierParts } from "./courier.ts";
import type { Inbox } from "./inbox.ts";
import type { Prekeys } from "./prekeys.ts";

const log = getLogger(["cairn", "peer"]);

const PURGES_PER_MESSAGE = 64;
/** Deliveries not dealt with yet: a mailbox sends at most 256, and no more than fit its buffers. */
const MAX_WAITING = 320;
const MAX_WAITING_BYTES = 320 * 1_048_576;

/** What a conversation stands on. */
export interface ConversationParts extends CourierParts {
  readonly inbox: Inbox;
  readonly prekeys: Prekeys;
  /** The server holds this peer's current prekeys: others can write to it now. */
  readonly onReady: (server: PeerId) => void;
  /** Why this peer had to close the link, when the server is not to blame. */
  readonly onFailure?: (error: Error) => void;
  /** The server repeats the secret of the pairing, because it does not know that this peer has it. */
  readonly onSecret: (link: LinkConnection, payload: Uint8Array) => Promise<void>;
  /** The server ended the pairing. */
  readonly onRevoked: (server: PeerId) => void;
}

/** One link to a mailbox server, from this peer's side: keys up, messages up, deliveries down. */
export class ServerConversation {
  readonly #link: LinkConnection;
  readonly #parts: ConversationParts;
  #courier: Courier | undefined;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;
  #stored: Uint8Array[] = [];
  #failed: Uint8Array[] = [];
  #leftBehind = false;
  #ready = false;
  #stopped = false;
  #gapTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(link: LinkConnection, parts: ConversationParts) {
    this.#link = link;
    this.#parts = parts;
    link.onEnvelope = (envelope) => this.#receive(envelope);
    // A server that has forgotten the pairing says so to this, and would say nothing to silence.
    link.send(MessageType.VersionNegotiate, encodeVersionNegotiate({ versions: [1] }));
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Something new waits in the outbox. */
  poke(recipient: PeerId): void {
    this.#courier?.poke(recipient);
  }

  /** The application has made room: what was left with the server is fetched on a new link. */
  roomMade(): void {
    if (this.#leftBehind && this.#parts.inbox.hasRoom) this.#link.close("going-away");
  }

  /** Takes no more deliveries; resolves when the one under way is stored and purged. */
  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#gapTimer);
    this.#courier?.close();
    await this.#work;
    this.#purge();
  }

  #receive({ type, payload }: Envelope): void {
    try {
      switch (type) {
        case MessageType.MailboxStatus:
          return this.#enqueue(() => this.#onStatus(payload));
        case MessageType.ForwardDeliver: {
          const delivery = decodeForwardDeliver(payload);
          return this.#enqueue(() => this.#onDelivery(delivery), payload.length);
        }
        case MessageType.MailboxDrained:
          return this.#enqueue(() => this.#onDrained());
        case MessageType.ForwardAck: {
          const ack = decodeForwardAck(payload);
          if (this.#courier) return this.#courier.onAck(ack);
          // Receipts follow the status at once, which is still being dealt with.
          return this.#enqueue(async () => await this.#courier?.onAck(ack));
        }
        case MessageType.PrekeyBundle:
          return this.#courier?.onBundle(decodePrekeyBundle(payload));
        case MessageType.SequenceReport:
          return this.#courier?.onReport(decodeSequenceReport(payload));
        case MessageType.VersionNegotiate:
          return;
        case MessageType.PairConfirm:
          return this.#enqueue(() => this.#parts.onSecret(this.#link, payload));
        case MessageType.PairRevoke:
          return this.#onRevoke(decodePairRevoke(payload).peerId);
        default:
          log.debug("Message of type {type} is not for a peer", { type });
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Deliveries are dealt with one after another, so that their order is the server's. */
  #enqueue(step: () => Promise<void>, size = 0): void {
    this.#waitingBytes += size;
    if (++this.#waiting > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) {
      throw new ProtocolError("too-large", "More deliveries at once than a mailbox may send");
    }
    this.#work = this.#work.then(async () => {
      this.#waiting--;
      this.#waitingBytes -= size;
      if (this.#link.closed || this.#stopped) return;
      await step();
      if (this.#waiting === 0 || this.#stored.length + this.#failed.length >= PURGES_PER_MESSAGE) {
        this.#purge();
      }
    }).catch((error) => this.#fail(error));
  }

  async #onStatus(payload: Uint8Array): Promise<void> {
    const status = decodeMailboxStatus(payload);
    const publication = await this.#parts.prekeys.publication(status);
    if (publication) {
      this.#link.send(MessageType.PrekeyPublish, encodePrekeyPublish(publication));
    } else if (!this.#ready) {
      this.#ready = true;
      this.#parts.onReady(this.#link.remote);
    }
    if (this.#courier || this.#link.closed) return;
    this.#courier = new Courier(this.#link, status, {
      ...this.#parts,
      rolledBack: async () => {
        await this.#parts.rolledBack();
        const replacement = await this.#parts.prekeys.publication({
          ...status,
          signedPrekeyId: null,
        });
        if (replacement) {
          this.#link.send(MessageType.PrekeyPublish, encodePrekeyPublish(replacement));
        }
      },
    });
    this.#courier.start();
  }

  async #onDelivery(delivery: ForwardDeliver): Promise<void> {
    switch (await this.#parts.inbox.take(delivery)) {
      case "stored":
        this.#stored.push(delivery.msgId);
        break;
      case "failed":
        log.warn("A message could not be opened; its sender is asked to send it again");
        this.#failed.push(delivery.msgId);
        break;
      case "later":
        this.#leftBehind = true;
    }
  }

  async #onDrained(): Promise<void> {
    const again = await this.#parts.inbox.drained();
    clearTimeout(this.#gapTimer);
    if (again === undefined || this.#stopped) return;
    const wait = Math.max(0, again - this.#parts.host.now());
    this.#gapTimer = setTimeout(() => {
      if (this.#waiting === 0) this.#enqueue(() => this.#onDrained());
    }, wait);
  }

  #onRevoke(peerId: PeerId): void {
    if (!peerId.equals(this.#link.remote)) {
      throw new ProtocolError("wrong-peer", "A server can only revoke its own pairing");
    }
    this.#parts.onRevoked(this.#link.remote);
  }

  #purge(): void {
    if (this.#stored.length + this.#failed.length === 0) return;
    const purge = encodeForwardPurge({ msgIds: this.#stored, failed: this.#failed });
    this.#link.send(MessageType.ForwardPurge, purge);
    this.#stored = [];
    this.#failed = [];
  }

  #fail(error: unknown): void {
    if (error instanceof ProtocolError) {
      log.warn("The server broke the protocol: {message}", { message: error.message });
      return this.#link.close("protocol-error");
    }
    log.error("The link to the server had to be closed: {message}", {
      message: error instanceof Error ? error.message : String(error),
      error,
    });
    if (error instanceof Error) this.#parts.onFailure?.(error);
    this.#link.close("going-away");
  }
}
