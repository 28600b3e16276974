import { toHex } from "../base/bytes.ts";
import type { Host } from "../base/host.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import {
  openSealedMessage,
  type SealedMessage,
  sealMessage,
  SeenMessages,
} from "../protocol/rendezvous/sealed_message.ts";
import { rendezvousTopics } from "../protocol/rendezvous/topics.ts";
import { rankClients } from "./ranked_clients.ts";
import type { TopicAccess } from "./signal_client.ts";

/** How often the topics are worked out again; epochs overlap by far more than this. */
const RENEW_INTERVAL = 60_000;

/** The secrets that a pair of peers may be meeting under: the current one first. */
export interface MeetingSecrets {
  readonly remote: PeerId;
  readonly secrets: readonly Uint8Array[];
}

/**
 * Meets one paired peer on its rendezvous topics: it listens on every signaling server given, and
 * hands over what the peer sealed, once however many servers it came through. Topics follow the
 * clock.
 */
export class SealedRendezvous {
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #seen = new SeenMessages();
  readonly #subscriptions = new Map<string, () => void>();
  /** The servers that have not been tried in this round of offers. */
  #untried: readonly TopicAccess[] = [];
  #offerId = new Uint8Array(16);
  /** Ids of the offers that were sent, which answers repeat. */
  readonly #offered = new Set<string>();
  #closed = false;

  constructor(
    private readonly options: {
      self: PeerId;
      meeting: MeetingSecrets;
      clients: readonly TopicAccess[];
      host: Host;
      /** `secretIndex` is 0 when the remote used the current secret. */
      onMessage: (message: SealedMessage, secretIndex: number) => void;
    },
  ) {
    this.#renew();
    this.#timer = setInterval(() => this.#renew(), RENEW_INTERVAL);
  }

  /** Sends one sealed message on the current topic of each secret, through every server. */
  send(message: Omit<SealedMessage, "time">): void {
    const { clients } = this.options;
    const connected = clients.filter((client) => client.connected);
    this.#sendThrough(connected.length > 0 ? connected : clients, message);
  }

  /**
   * Sends an offer through one server: each call through the next in their rank, with the id of the
   * offer before, until all were tried; then a new round begins with a new id. Servers that are not
   * connected are left out as long as another one is.
   */
  offer(): void {
    const { clients, meeting: { secrets: [secret] }, host } = this.options;
    if (secret === undefined) return;
    const isAnyConnected = clients.some(({ connected }) => connected);
    const isUsable = ({ connected }: TopicAccess) => connected || !isAnyConnected;
    if (!this.#untried.some(isUsable)) {
      this.#untried = clients;
      this.#offerId = host.random(16);
      this.#offered.add(toHex(this.#offerId));
    }
    const [topic = ""] = rendezvousTopics(secret, host.now() / 1000);
    const [best] = rankClients(this.#untried.filter(isUsable), topic);
    if (!best) return;
    this.#untried = this.#untried.filter((client) => client !== best);
    this.#sendThrough([best], { id: this.#offerId, kind: "offer", candidates: [] });
  }

  /** Whether an answer with this id is one to an offer of this side. */
  hasOffered(id: Uint8Array): boolean {
    return this.#offered.has(toHex(id));
  }

  #sendThrough(
    clients: readonly TopicAccess[],
    message: Omit<SealedMessage, "time">,
  ): void {
    const { self, meeting, host } = this.options;
    const time = Math.floor(host.now() / 1000);
    for (const secret of meeting.secrets) {
      const topic = rendezvousTopics(secret, time)[0];
      if (topic === undefined) continue;
      const payload = sealMessage(
        { secret, sender: self, topic, nonce: host.random(24) },
        { ...message, time },
      );
      for (const client of clients) client.relay(topic, payload);
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const unsubscribe of this.#subscriptions.values()) unsubscribe();
    this.#subscriptions.clear();
  }

  #renew(): void {
    const { meeting, clients, host } = this.options;
    const wanted = new Map<string, { topic: string; secret: Uint8Array; index: number }>();
    meeting.secrets.forEach((secret, index) => {
      for (const topic of rendezvousTopics(secret, host.now() / 1000)) {
        wanted.set(topic, { topic, secret, index });
      }
    });
    for (const [topic, unsubscribe] of this.#subscriptions) {
      if (wanted.has(topic)) continue;
      unsubscribe();
      this.#subscriptions.delete(topic);
    }
    for (const { topic, secret, index } of wanted.values()) {
      if (this.#subscriptions.has(topic)) continue;
      const unsubscribes = clients.map((client) =>
        client.subscribe(topic, (payload) => this.#receive(topic, secret, index, payload))
      );
      this.#subscriptions.set(topic, () => unsubscribes.forEach((unsubscribe) => unsubscribe()));
    }
  }

  #receive(topic: string, secret: Uint8Array, index: number, payload: Uint8Array): void {
    if (this.#closed) return;
    const message = openSealedMessage({
      secret,
      sender: this.options.meeting.remote,
      topic,
      now: this.options.host.now() / 1000,
    }, payload);
    if (message && this.#seen.isNew(message)) this.options.onMessage(message, index);
  }
}
