import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Candidate } from "../../protocol/rendezvous/sealed_message.ts";
import { contactTopic } from "../../protocol/rendezvous/topics.ts";
import type { TopicAccess } from "../signal_client.ts";
import type { PeerBook } from "../peer_book.ts";
import { SealedRendezvous } from "../sealed_rendezvous.ts";
import { acceptOnTopic } from "../topic_carrier.ts";
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
  /** A link attempt that came over the contact topic. */
  readonly onSocket: (socket: FrameSocket) => void;
  /** Answers offers of datagrams; absent from a server without them. */
  readonly pathAnswers?: PathAnswers;
}

/**
 * Waits on every signaling server: on the contact topic for strangers that want to pair, and on
 * the rendezvous topics of each paired peer to answer its offers with this server's addresses.
 */
export class MeetingPoints {
  readonly #options: MeetingPointsOptions;
  readonly #meetings = new Map<string, SealedRendezvous>();
  readonly #stopAccepting: (() => void)[];

  constructor(options: MeetingPointsOptions) {
    this.#options = options;
    const topic = contactTopic(options.self);
    this.#stopAccepting = options.clients.map((client) =>
      acceptOnTopic(client, topic, options.onSocket)
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
    const { secret, previousSecret } = pairing;
    const meeting = new SealedRendezvous({
      self,
      meeting: { remote: peerId, secrets: previousSecret ? [secret, previousSecret] : [secret] },
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
        if (secretIndex === 0 && previousSecret) {
          void book.seen(peerId, host.now(), undefined, true);
        }
      },
    });
    this.#meetings.set(text, meeting);
  }

  close(): void {
    for (const stop of this.#stopAccepting) stop();
    for (const meeting of this.#meetings.values()) meeting.close();
    this.#meetings.clear();
  }
}
