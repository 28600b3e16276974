import type { Host } from "../../base/host.ts";
import { RateLimit } from "../../base/rate_limit.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairRevoke } from "../../protocol/pairing_messages.ts";
import { AttemptLimit } from "../../protocol/pairing/attempt_limit.ts";
import { PairingOffers } from "../../protocol/pairing/offers.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { PeerBook } from "../peer_book.ts";
import type { ApprovalBook } from "./approval_book.ts";
import type { AskingPeers } from "./asking_peers.ts";
import type { PairingEvent } from "./pairing_control.ts";
import { PairingConversation } from "./pairing_conversation.ts";
import type { PairingGround } from "./pairing_ground.ts";
import { StrangerLinks } from "./stranger_links.ts";

/** Requests of one source: each costs the acceptor a few milliseconds. */
const REQUESTS = { burst: 20, perSecond: 2 };
/** Tries at a SAS by everybody together: of a million, an attacker has to hit one. */
const ASKS = { burst: 60, perSecond: 0.1 };
/** Of all strangers together: they must fill no log, nor push out of the events what matters. */
const FAILURES_TOLD = { burst: 30, perSecond: 0.2 };
const MAX_MESSAGES = 16;

/** Settings of a {@linkcode PairingDesk}. */
export interface PairingDeskOptions {
  readonly self: PeerId;
  readonly book: PeerBook;
  readonly approvals: ApprovalBook;
  readonly asking: AskingPeers;
  readonly host: Host;
  readonly psk: string | undefined;
}

/** Pairs strangers, whose links may carry nothing else. */
export class PairingDesk {
  readonly offers = new PairingOffers();
  readonly asking: AskingPeers;
  readonly approvals: ApprovalBook;
  readonly #ground: PairingGround;
  readonly #strangers = new StrangerLinks();
  readonly #listeners = new Set<(event: PairingEvent) => void>();

  constructor(options: PairingDeskOptions) {
    this.approvals = options.approvals;
    this.asking = options.asking;
    this.#ground = {
      ...options,
      offers: this.offers,
      strangers: this.#strangers,
      keyLimit: new AttemptLimit(),
      requestLimit: new RateLimit(REQUESTS),
      askLimit: new RateLimit(ASKS),
      newsLimit: new RateLimit(FAILURES_TOLD),
      emit: (event) => this.emit(event),
    };
  }

  /** Takes over the link of a peer that is not paired. `source` is where it came from. */
  welcome(link: LinkConnection, source: string): void {
    const { spoke } = this.#strangers.admit(link, source);
    const conversation = this.conversation(link, source);
    let messages = 0;
    link.onEnvelope = (envelope) => {
      spoke();
      if (++messages <= MAX_MESSAGES && conversation.receive(envelope)) return;
      if (!isPairing(envelope) && this.approvals.wasUnpaired(link.remote)) {
        // It was away when that happened, and still thinks that it is paired.
        const { self } = this.#ground;
        link.send(MessageType.PairRevoke, encodePairRevoke({ peerId: self }));
      }
      link.close("not-paired");
    };
  }

  /** What deals with the pairing messages of one link. */
  conversation(link: LinkConnection, source: string): PairingConversation {
    return new PairingConversation(this.#ground, link, source);
  }

  emit(event: PairingEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Calls `listener` with every event; returns what ends that. */
  subscribe(listener: (event: PairingEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Closes the links of all strangers. */
  close(): void {
    this.#strangers.close();
  }
}

/** Whether an envelope is one of those by which peers pair. */
export function isPairing({ type }: Envelope): boolean {
  return type >= MessageType.PairRequest && type <= MessageType.PairReject;
}
