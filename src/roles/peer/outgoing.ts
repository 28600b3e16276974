import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MAX_CHANNEL_LENGTH } from "../../protocol/message_types.ts";
import { formatUuid } from "../../protocol/uuid.ts";
import type { HubClient } from "./hub_client.ts";
import type { Listeners } from "./listeners.ts";
import type {
  BroadcastOptions,
  NodeEvents,
  SendOptions,
  SentCopy,
  SentMessage,
} from "./node_api.ts";
import type { NodeStore } from "./node_store.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { fullError } from "./outbox_intake.ts";
import { SentMessages } from "./sent_messages.ts";
import type { ServerLinks } from "./server_links.ts";

const log = getLogger(["cairn", "peer"]);

/** Most bytes that one message may carry: what fits an envelope with everything around it. */
export const MAX_DATA_LENGTH: number = 1_048_576 - 16_384;
const MAX_RECIPIENTS = 64;

/** What sending stands on. */
export interface OutgoingParts {
  readonly store: NodeStore;
  readonly servers: ServerLinks;
  readonly hub: HubClient;
  readonly listeners: Listeners<NodeEvents>;
  readonly addContact: (peer: PeerId) => Promise<void>;
}

/** What the application writes, from the call to the outbox, and past it what nobody keeps. */
export class Outgoing {
  readonly #sent: SentMessages;

  constructor(private readonly parts: OutgoingParts) {
    this.#sent = new SentMessages(parts.store.outboxEvents, parts.listeners);
  }

  /** As {@linkcode PeerNode.send}. */
  async send(
    recipient: PeerId,
    channel: string,
    data: Uint8Array | string,
    { addsContact = true }: SendOptions,
  ): Promise<SentMessage> {
    const bytes = bytesOf(data);
    this.#requireSendable([recipient], channel, bytes);
    const queued = this.parts.store.outbox.enqueue(recipient, channel, bytes);
    const [entry] = await Promise.all([queued, ...(addsContact ? [this.#pin(recipient)] : [])]);
    return this.#sendOff(entry);
  }

  /** As {@linkcode PeerNode.sendTransient}. */
  async sendTransient(
    recipient: PeerId,
    channel: string,
    data: Uint8Array | string,
  ): Promise<boolean> {
    const bytes = bytesOf(data);
    this.#requireSendable([recipient], channel, bytes);
    return await this.parts.hub.sendTransient(recipient, channel, bytes);
  }

  /** As {@linkcode PeerNode.broadcast}. */
  async broadcast(
    channel: string,
    data: Uint8Array | string,
    options: BroadcastOptions,
  ): Promise<SentCopy[]> {
    const { to = this.#audience(), addsContact = true } = options;
    const bytes = bytesOf(data);
    const recipients = [...new Map(to.map((peer) => [`${peer}`, PeerId.from(peer)])).values()];
    this.#requireSendable(recipients, channel, bytes);
    if (recipients.length === 0) return [];
    const queued = this.parts.store.outbox.enqueueForAll(recipients, channel, bytes, {
      skipsFull: options.to === undefined,
    });
    const pinned = addsContact ? recipients.map((each) => this.#pin(each)) : [];
    const [entries] = await Promise.all([queued, ...pinned]);
    const copies = new Map(entries.map((entry) => [`${entry.recipient}`, this.#sendOff(entry)]));
    const id = formatUuid(entries[0]!.id);
    return recipients.map((to) => {
      const copy = copies.get(`${to}`) ?? { id, accepted: refusal(fullError(to)) };
      return { to, ...copy };
    });
  }

  /** Those who wait for what becomes of their messages are told `reason` instead. */
  close(reason: CairnError): void {
    this.#sent.abandon(reason);
  }

  #requireSendable(recipients: readonly PeerId[], channel: string, data: Uint8Array): void {
    const { store, servers } = this.parts;
    if (data.length > MAX_DATA_LENGTH) {
      throw new CairnError(
        "too-large",
        `The message has ${data.length} bytes; at most ${MAX_DATA_LENGTH} can be sent at once`,
      );
    }
    if (utf8(channel).length > MAX_CHANNEL_LENGTH) {
      throw new CairnError("too-large", `A channel name has at most ${MAX_CHANNEL_LENGTH} bytes`);
    }
    if (recipients.length > MAX_RECIPIENTS) {
      throw new CairnError("too-large", `A broadcast has at most ${MAX_RECIPIENTS} recipients`);
    }
    if (recipients.some((recipient) => recipient.equals(store.own.identity.peerId))) {
      throw new CairnError("refused", "A peer cannot send to itself");
    }
    servers.requirePaired();
  }

  /** The contacts, but those that every server says it does not know. */
  #audience(): PeerId[] {
    const { store, hub } = this.parts;
    const servers = store.book.list().map(({ peerId }) => peerId);
    return store.contacts.list().filter((peer) => !hub.roster.isGone(peer, servers));
  }

  /** Whoever is written to is known from here on. */
  async #pin(recipient: PeerId): Promise<void> {
    try {
      await this.parts.addContact(recipient);
    } catch (error) {
      log.warn("A contact could not be noted: {error}", { error });
    }
  }

  #sendOff(entry: OutboxEntry): SentMessage {
    const { servers, hub } = this.parts;
    const sent = this.#sent.track(entry);
    servers.poke(entry.recipient);
    hub.want(entry.recipient);
    return sent;
  }
}

/** @throws {TypeError} for what pages, which nobody checks the types of, might send otherwise. */
function bytesOf(data: Uint8Array | string): Uint8Array {
  if (typeof data === "string") return utf8(data);
  if (data instanceof Uint8Array) return data;
  throw new TypeError("A message is a Uint8Array or a string");
}

/** A promise that rejects, whether or not anybody looks at it. */
function refusal(error: CairnError): Promise<void> {
  const accepted = Promise.reject<void>(error);
  accepted.catch(() => {});
  return accepted;
}
