import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Candidate } from "../../protocol/rendezvous/sealed_message.ts";
import { contactTopic } from "../../protocol/rendezvous/topics.ts";
import type { TopicAccess } from "../signal_client.ts";
import type { PeerBook } from "../peer_book.ts";
import { SealedRendezvous } from "../sealed_rendezvous.ts";
import { acceptOnTopic, type TopicListener } from "../topic_carrier.ts";
import type { FrameSocket } from "../web_socket.ts";
import type { PathAnswers } from "./path_answers.ts";

/** What a server needs to be found through signaling. */
export interface MeetingPointsOptions {
  readonly self: PeerId;
  readonly book: PeerBook;
  readonly clients: readonly TopicAccess[];
  readonly host: Host;
  /** Where the server can be reached right now. */
  readonly candidates: () => readonly Candidate[];
  /** A link attempt that came over a topic; `source` names the topic, for limits. */
  readonly onSocket: (socket: FrameSocket, source: string) => void;
  /** Answers offers of datagrams; absent from a server without them. */
  readonly pathAnswers?: PathAnswers;
}

/** A topic on which peers that hold a PIN or link ask for a link. */
export interface OfferTopic {
  readonly offerId: string;
  readonly topic: string;
  /** Whether others may pose as an acceptor there, so that each has to be told apart. */
  readonly isGuessable: boolean;
}

/**
 * Waits on every signaling server: on the contact topic and on those of its PINs and links for
 * strangers that want to pair, and on the rendezvous topics of each paired peer to answer its offers with this server's addresses.
 */
export class MeetingPoints {
  readonly #options: MeetingPointsOptions;
  readonly #meetings = new Map<string, SealedRendezvous>();
  readonly #contact: readonly TopicListener[];
  readonly #offers = new Map<string, readonly TopicListener[]>();

  constructor(options: MeetingPointsOptions) {
    this.#options = options;
    const topic = contactTopic(options.self);
    this.#contact = options.clients.map((client) =>
      acceptOnTopic(client, topic, (socket) => options.onSocket(socket, "signaling contact"))
    );
    for (const { peerId } of options.book.list()) this.renew(peerId);
  }

  /** Follows a pairing that was added, replaced or removed. */
  renew(peerId: PeerId): void {
    const { self, book, clients, host, candidates, pathAnswers } = this.#options;
    const text = peerId.toString();
    this.#meetings.get(text)?.close();
    this.#meetings.delete(text);
    const pairing = book.get(peerId);
    if (!pairing || clients.length === 0) return;
    const { secret, previousSecrets } = pairing;
    const meeting = new SealedRendezvous({
      self,
      meeting: { remote: peerId, secrets: [secret, ...previousSecrets] },
      clients,
      host,
      onMessage: (message, secretIndex) => {
        const { kind, id } = message;
        pathAnswers?.take(peerId, message, (answer) => meeting.send(answer));
        if (kind !== "offer") return;
        const relays = pathAnswers?.relays() ?? [];
        meeting.send({
          id,
          kind: "answer",
          candidates: candidates(),
          ...(relays.length > 0 && { relays }),
        });
        if (secretIndex === 0 && (previousSecrets.length > 0 || pairing.unacknowledged)) {
          void book.seen(peerId, host.now(), undefined, true);
        }
      },
    });
    this.#meetings.set(text, meeting);
  }

  /** Follows the PINs and links that can be redeemed. */
  followOffers(topics: readonly OfferTopic[]): void {
    for (const [offerId, listeners] of this.#offers) {
      if (topics.some((wanted) => wanted.offerId === offerId)) continue;
      // Who is being told that the offer has ended is still to hear it.
      for (const listener of listeners) listener.drain();
      this.#offers.delete(offerId);
    }
    const { clients, host, onSocket } = this.#options;
    for (const { offerId, topic, isGuessable } of topics) {
      if (this.#offers.has(offerId)) continue;
      const accept = (socket: FrameSocket) => onSocket(socket, `signaling ${offerId}`);
      const options = isGuessable ? { announce: () => host.random(16) } : {};
      this.#offers.set(
        offerId,
        clients.map((client) => acceptOnTopic(client, topic, accept, options)),
      );
    }
  }

  close(): void {
    for (const listener of [...this.#contact, ...[...this.#offers.values()].flat()]) {
      listener.close();
    }
    this.#offers.clear();
    for (const meeting of this.#meetings.values()) meeting.close();
    this.#meetings.clear();
  }
}
