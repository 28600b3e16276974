import { getLogger } from "@logtape/logtape";
import { CairnError, ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import {
  decodeForwardDeliver,
  decodeForwardPurge,
  decodeSequenceReport,
  encodeSequenceReport,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  decodePrekeyBundle,
  decodePrekeyFetch,
  encodePrekeyBundle,
} from "../../protocol/prekey_messages.ts";
import { decodeTransientAck, decodeTransientData } from "../../protocol/transient_messages.ts";
import type { LinkConnection } from "../link_connection.ts";
import { DeliveryIntake } from "./delivery_intake.ts";
import { DirectCourier, type DirectCourierParts } from "./direct_courier.ts";
import type { Inbox } from "./inbox.ts";
import type { TransientMessage } from "./node_api.ts";
import type { Prekeys } from "./prekeys.ts";
import { NoPrekeys } from "./sealer.ts";
import { TransientExchange } from "./transient_exchange.ts";

const log = getLogger(["cairn", "peer"]);

/** What a conversation with another peer stands on. */
export interface PeerConversationParts extends DirectCourierParts {
  readonly inbox: Inbox;
  readonly prekeys: Prekeys;
  /** Whether messages and links of a peer are wanted. */
  readonly accepts: (peer: PeerId) => boolean;
  /** Shows a message that nobody keeps; resolves to whether the application took it. */
  readonly onTransient: (message: TransientMessage) => Promise<boolean>;
  /** The other end takes messages from here on. */
  readonly onServed: (peer: PeerId) => void;
}

/**
 * A link to another peer, direct or relayed: each end delivers to the other as a mailbox would, and
 * takes the other's purge for the receipt.
 */
export class PeerConversation {
  readonly link: LinkConnection;
  readonly #parts: PeerConversationParts;
  readonly #intake: DeliveryIntake;
  readonly #courier: DirectCourier;
  readonly #transient: TransientExchange;
  #lastUsed: number;

  constructor(link: LinkConnection, parts: PeerConversationParts) {
    this.link = link;
    this.#parts = parts;
    const fail = (error: unknown) => this.#fail(error);
    this.#intake = new DeliveryIntake({ ...parts, link, fail });
    this.#courier = new DirectCourier(link, parts, fail);
    this.#transient = new TransientExchange({ ...parts, link, fail });
    this.#lastUsed = parts.host.monotonic();
    link.trustRemote();
    link.onEnvelope = (envelope) => this.#receive(envelope);
    link.send(
      MessageType.SequenceReport,
      encodeSequenceReport({
        recipient: parts.own.identity.peerId,
        lastSequence: parts.inbox.highestFrom(link.remote),
      }),
    );
  }

  /** Whether messages to the other end go over this link. */
  get serves(): boolean {
    return this.#courier.serves && !this.link.closed;
  }

  /** Whether nothing that was sent awaits its answer. */
  get idle(): boolean {
    return this.#courier.idle && this.#transient.idle;
  }

  /** Monotonic milliseconds of the last message either way. */
  get lastUsed(): number {
    return this.#lastUsed;
  }

  /** Something waits for the other end. */
  poke(): void {
    this.#lastUsed = this.#parts.host.monotonic();
    this.#courier.poke();
  }

  /** Sends what nobody keeps; resolves to whether the other end took it. */
  async sendTransient(channel: string, data: Uint8Array): Promise<boolean> {
    if (!this.#transient.serves) return false;
    this.#lastUsed = this.#parts.host.monotonic();
    return await this.#transient.send(channel, data);
  }

  roomMade(): void {
    this.#intake.roomMade();
  }

  /** Sends nothing more here before `resumeSending`; what comes is still taken, and answered. */
  stopSending(): void {
    this.#courier.pause();
    this.#transient.pause();
  }

  resumeSending(): void {
    this.#courier.resume();
    this.#transient.resume();
  }

  /** Resolves when the delivery under way is stored and purged. */
  async close(): Promise<void> {
    this.#courier.close();
    this.#transient.close();
    await this.#intake.close();
  }

  #receive({ type, payload }: Envelope): void {
    this.#lastUsed = this.#parts.host.monotonic();
    try {
      switch (type) {
        case MessageType.SequenceReport: {
          const report = decodeSequenceReport(payload);
          this.#requireRemote(report.recipient);
          return this.#do(async () => {
            await this.#courier.onReport(report);
            this.#parts.onServed(this.link.remote);
          });
        }
        case MessageType.ForwardDeliver: {
          const delivery = decodeForwardDeliver(payload);
          this.#requireRemote(delivery.sender);
          return this.#intake.take(delivery, payload.length);
        }
        case MessageType.MailboxDrained:
          return this.#intake.drained(this.link.remote);
        case MessageType.ForwardPurge: {
          const purge = decodeForwardPurge(payload);
          return this.#do(() => this.#courier.onPurge(purge));
        }
        case MessageType.PrekeyFetch:
          return this.#onFetch(decodePrekeyFetch(payload).peerId);
        case MessageType.PrekeyBundle:
          return this.#courier.onBundle(decodePrekeyBundle(payload));
        case MessageType.TransientData:
          return this.#transient.onData(decodeTransientData(payload));
        case MessageType.TransientAck:
          return this.#transient.onAck(decodeTransientAck(payload));
        default:
          log.debug("Message of type {type} is not for a peer", { type });
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #onFetch(peerId: PeerId): void {
    const { own, prekeys } = this.#parts;
    if (!peerId.equals(own.identity.peerId)) {
      throw new ProtocolError("wrong-peer", "A peer hands out no keys but its own");
    }
    this.#do(async () => {
      const bundle = { peerId, ...await prekeys.bundle(), oneTimePrekey: null, reason: null };
      this.link.send(MessageType.PrekeyBundle, encodePrekeyBundle(bundle));
    });
  }

  /** Who is at the other end has been proved: it speaks for nobody else. */
  #requireRemote(peerId: PeerId): void {
    if (peerId.equals(this.link.remote)) return;
    throw new ProtocolError("wrong-peer", "A peer speaks for another one");
  }

  #do(step: () => Promise<void>): void {
    step().catch((error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof ProtocolError || error instanceof NoPrekeys) {
      log.warn("A peer broke the protocol: {message}", { message });
      return this.link.close("protocol-error");
    }
    if (error instanceof CairnError) log.debug("A link to a peer ends: {message}", { message });
    else log.error("A link to a peer had to be closed: {message}", { message, error });
    this.link.close(
      error instanceof CairnError && error.code === "timeout" ? "timeout" : "going-away",
    );
  }
}
