import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import {
  decodeForwardPurge,
  decodeForwardRequest,
  decodeReceiptAck,
  decodeSequenceQuery,
  encodeForwardAck,
  encodeForwardDeliver,
  encodeMailboxStatus,
  encodeSequenceReport,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { decodePairRevoke } from "../../protocol/pairing_messages.ts";
import {
  decodePrekeyFetch,
  decodePrekeyPublish,
  encodePrekeyBundle,
} from "../../protocol/prekey_messages.ts";
import {
  decodeVersionNegotiate,
  encodeVersionNegotiate,
  selectVersion,
} from "../../protocol/session_messages.ts";
import { decodeSyncRequest, encodeSyncAck } from "../../protocol/sync_messages.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import type { PeerBook } from "../peer_book.ts";
import type { Hub } from "./hub.ts";
import type { MailboxDesk } from "./mailbox_desk.ts";
import type { PairingConversation } from "./pairing_conversation.ts";
import { isPairing, type PairingDesk } from "./pairing_desk.ts";
import type { PrekeyShelf } from "./prekey_shelf.ts";
import { refusedForAll } from "./sync_parts.ts";

const log = getLogger(["cairn", "server"]);

/** Requests of one link, and bytes of one sender, under way; our own peers stay well below. */
const MAX_UNDER_WAY = 1_024;
const MAX_UNDER_WAY_BYTES = 32 * 1_048_576;
/** Pairing messages on the link of a peer that is paired already. */
const MAX_PAIRING_MESSAGES = 16;
const VERSIONS = [1];
const NOTHING = new Uint8Array(0);

/** What the links of a server's peers are served with. */
export interface PeerLinksOptions {
  readonly context: LinkContext;
  readonly book: PeerBook;
  /** Absent when store-and-forward is switched off. */
  readonly desk: MailboxDesk | undefined;
  readonly shelf: PrekeyShelf;
  readonly pairing: PairingDesk;
  readonly hub?: Hub;
  readonly storeId: Uint8Array;
  readonly largestBody: number;
  readonly retentionSeconds: number;
}

/** One link of a paired peer. */
export class ServedLink {
  readonly link: LinkConnection;
  readonly #options: PeerLinksOptions;
  readonly #pairing: PairingConversation;
  readonly #unpair: () => Promise<void>;
  readonly #underWay = new Set<Promise<void>>();
  #attachment: ReturnType<MailboxDesk["attach"]> | undefined;
  #isDelivering = false;
  /** Names this link towards the mailbox. */
  #number: number | undefined;
  #pairingMessages = 0;
  #receipts: ReturnType<MailboxDesk["attachSender"]> | undefined;

  constructor(
    link: LinkConnection,
    options: PeerLinksOptions,
    source: string,
    unpair: () => Promise<void>,
  ) {
    this.link = link;
    this.#options = options;
    this.#pairing = options.pairing.conversation(link, source);
    this.#unpair = unpair;
  }

  start(): void {
    const { link } = this;
    const { desk } = this.#options;
    link.trustRemote();
    const pairing = this.#options.book.get(link.remote);
    if (pairing?.unacknowledged) this.#pairing.repeatSecret(pairing.secret);
    this.#sendStatus();
    this.#number = desk?.linkUp(link.remote);
    this.#options.hub?.linkUp(link);
    this.#receipts = desk?.attachSender(link.remote, {
      receipt: (ack) => link.send(MessageType.ForwardAck, encodeForwardAck(ack)),
    });
    if (link.capabilities.has("receive")) this.startDeliveries();
    link.onEnvelope = (envelope) => this.#receive(envelope);
  }

  /** Brings what waits for this peer over this link, if it does not already. */
  startDeliveries(): void {
    const { link } = this;
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    this.#attachment = this.#options.desk?.attach(link.remote, {
      deliver: (delivery) => link.send(MessageType.ForwardDeliver, encodeForwardDeliver(delivery)),
      drained: () => link.send(MessageType.MailboxDrained, NOTHING),
      get congested() {
        return link.congested;
      },
    });
  }

  stopDeliveries(): void {
    this.#isDelivering = false;
    this.#attachment?.detach();
  }

  stop(): void {
    this.stopDeliveries();
    this.#receipts?.detach();
    this.#receipts = undefined;
    this.#options.hub?.linkDown(this.link);
  }

  /** Resolves when nothing that was asked on this link awaits its answer. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #receive(envelope: Envelope): void {
    if (this.#options.hub?.receive(this.link, envelope)) return;
    const bytes = this.#options.desk?.unansweredBytes(this.link.remote) ?? 0;
    if (this.#underWay.size >= MAX_UNDER_WAY || bytes > MAX_UNDER_WAY_BYTES) {
      return this.link.close("protocol-error");
    }
    if (isPairing(envelope) && ++this.#pairingMessages > MAX_PAIRING_MESSAGES) {
      return this.link.close("protocol-error");
    }
    if (this.#pairing.receive(envelope)) return;
    const step = this.#serve(envelope);
    this.#underWay.add(step);
    void step.then(() => this.#underWay.delete(step));
  }

  /** Never rejects: what fails ends the link. */
  async #serve(envelope: Envelope): Promise<void> {
    try {
      await this.#handle(envelope);
    } catch (error) {
      if (error instanceof ProtocolError) {
        log.debug("A peer broke the protocol: {message}", { message: error.message });
        return this.link.close("protocol-error");
      }
      log.error("A request could not be served: {message}", {
        message: error instanceof Error ? error.message : String(error),
        error,
      });
      this.link.close("going-away");
    }
  }

  async #handle({ type, payload }: Envelope): Promise<void> {
    const { link } = this;
    const { desk, shelf, book } = this.#options;
    const { remote } = link;
    switch (type) {
      case MessageType.ForwardRequest: {
        const request = decodeForwardRequest(payload);
        const ack = desk ? await desk.forward(remote, request, this.#number) : {
          msgId: request.msgId,
          accepted: false,
          rejectionReason: "forwarding is switched off",
        };
        return link.send(MessageType.ForwardAck, encodeForwardAck(ack));
      }
      case MessageType.SyncRequest: {
        const request = decodeSyncRequest(payload);
        const ack = desk
          ? await desk.sync(remote, request, this.#number)
          : refusedForAll(request, "forwarding is switched off");
        return link.send(MessageType.SyncAck, encodeSyncAck(ack));
      }
      case MessageType.ForwardPurge: {
        const { msgIds, failed, refused } = decodeForwardPurge(payload);
        // Counts too when another link has taken the deliveries over.
        const attachment = this.#attachment;
        await attachment?.purge(msgIds, failed, refused);
        return attachment?.resume();
      }
      case MessageType.ReceiptAck:
        return await this.#receipts?.acknowledge(decodeReceiptAck(payload).msgIds);
      case MessageType.SequenceQuery: {
        const { recipient } = decodeSequenceQuery(payload);
        const lastSequence = desk?.lastAccepted(remote, recipient) ?? 0;
        return link.send(
          MessageType.SequenceReport,
          encodeSequenceReport({ recipient, lastSequence }),
        );
      }
      case MessageType.PrekeyPublish:
        await shelf.publish(remote, decodePrekeyPublish(payload));
        return this.#sendStatus();
      case MessageType.PrekeyFetch: {
        const { peerId } = decodePrekeyFetch(payload);
        const bundle = book.has(peerId)
          ? await shelf.fetch(remote, peerId)
          : noBundle(peerId, "recipient is not a paired peer");
        return link.send(MessageType.PrekeyBundle, encodePrekeyBundle(bundle));
      }
      case MessageType.VersionNegotiate: {
        const versions = [selectVersion(decodeVersionNegotiate(payload).versions, VERSIONS)];
        return link.send(MessageType.VersionNegotiate, encodeVersionNegotiate({ versions }));
      }
      case MessageType.PairRevoke: {
        const { peerId } = decodePairRevoke(payload);
        if (!peerId.equals(remote)) {
          throw new ProtocolError("wrong-peer", "A peer can only revoke its own pairing");
        }
        return await this.#unpair();
      }
      default:
        log.debug("Message of type {type} is not for a server", { type });
    }
  }

  #sendStatus(): void {
    const { shelf, storeId, largestBody, retentionSeconds } = this.#options;
    const { oneTimeLeft, signedPrekeyId } = shelf.status(this.link.remote);
    this.link.send(
      MessageType.MailboxStatus,
      encodeMailboxStatus({
        storeId,
        oneTimePrekeysLeft: oneTimeLeft,
        signedPrekeyId,
        largestBody,
        retentionSeconds,
      }),
    );
  }
}

function noBundle(peerId: PeerId, reason: string) {
  return { peerId, signedPart: null, signature: null, oneTimePrekey: null, reason };
}
