import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import {
  decodeForwardAck,
  decodeForwardDeliver,
  decodeMailboxStatus,
  decodeSequenceReport,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { decodePairRevoke } from "../../protocol/pairing_messages.ts";
import { encodeVersionNegotiate } from "../../protocol/session_messages.ts";
import { decodePrekeyBundle, encodePrekeyPublish } from "../../protocol/prekey_messages.ts";
import { decodeSyncAck } from "../../protocol/sync_messages.ts";
import type { LinkConnection } from "../link_connection.ts";
import { Courier, type CourierParts } from "./courier.ts";
import { DeliveryIntake } from "./delivery_intake.ts";
import type { Inbox } from "./inbox.ts";
import type { Prekeys } from "./prekeys.ts";

const log = getLogger(["cairn", "peer"]);

/** What a conversation stands on. */
export interface ConversationParts extends CourierParts {
  readonly inbox: Inbox;
  readonly prekeys: Prekeys;
  /** The server holds this peer's current prekeys: others can write to it now. */
  readonly onReady: (server: PeerId) => void;
  /** Why this peer had to close the link, when the server is not to blame. */
  readonly onFailure?: (error: Error) => void;
  /** Takes what is not about the mailbox; false when nobody knows it. */
  readonly onHubMessage?: (link: LinkConnection, type: number, payload: Uint8Array) => boolean;
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
  readonly #intake: DeliveryIntake;
  #ready = false;

  constructor(link: LinkConnection, parts: ConversationParts) {
    this.#link = link;
    this.#parts = parts;
    this.#intake = new DeliveryIntake({ ...parts, link, fail: (error) => this.#fail(error) });
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
    this.#intake.roomMade();
  }

  /** Takes no more deliveries; resolves when the one under way is stored and purged. */
  async close(): Promise<void> {
    this.#courier?.close();
    await this.#intake.close();
  }

  #receive({ type, payload }: Envelope): void {
    try {
      switch (type) {
        case MessageType.MailboxStatus:
          return this.#intake.enqueue(() => this.#onStatus(payload));
        case MessageType.ForwardDeliver:
          return this.#intake.take(decodeForwardDeliver(payload), payload.length);
        case MessageType.MailboxDrained:
          return this.#intake.drained();
        case MessageType.ForwardAck: {
          const ack = decodeForwardAck(payload);
          if (this.#courier) return this.#courier.onAck(ack);
          // Receipts follow the status at once, which is still being dealt with.
          return this.#intake.enqueue(async () => await this.#courier?.onAck(ack));
        }
        case MessageType.PrekeyBundle:
          return this.#courier?.onBundle(decodePrekeyBundle(payload));
        case MessageType.SequenceReport:
          return this.#courier?.onReport(decodeSequenceReport(payload));
        case MessageType.SyncAck:
          return this.#courier?.onSyncAck(decodeSyncAck(payload));
        case MessageType.VersionNegotiate:
          return;
        case MessageType.PairConfirm:
          return this.#intake.enqueue(() => this.#parts.onSecret(this.#link, payload));
        case MessageType.PairRevoke:
          return this.#onRevoke(decodePairRevoke(payload).peerId);
        default:
          if (this.#parts.onHubMessage?.(this.#link, type, payload)) return;
          log.debug("Message of type {type} is not for a peer", { type });
      }
    } catch (error) {
      this.#fail(error);
    }
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

  #onRevoke(peerId: PeerId): void {
    if (!peerId.equals(this.#link.remote)) {
      throw new ProtocolError("wrong-peer", "A server can only revoke its own pairing");
    }
    this.#parts.onRevoked(this.#link.remote);
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
