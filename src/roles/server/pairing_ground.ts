import type { Host } from "../../base/host.ts";
import type { RateLimit } from "../../base/rate_limit.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { AttemptLimit } from "../../protocol/pairing/attempt_limit.ts";
import type { PairingOffers } from "../../protocol/pairing/offers.ts";
import type { PeerBook } from "../peer_book.ts";
import type { ApprovalBook } from "./approval_book.ts";
import type { AskingPeers } from "./asking_peers.ts";
import type { PairingEvent } from "./pairing_control.ts";
import type { StrangerLinks } from "./stranger_links.ts";

/** What all conversations of one server share. */
export interface PairingGround {
  readonly self: PeerId;
  readonly book: PeerBook;
  readonly host: Host;
  readonly psk: string | undefined;
  readonly offers: PairingOffers;
  readonly approvals: ApprovalBook;
  readonly asking: AskingPeers;
  readonly strangers: StrangerLinks;
  /** How often the key may be tried. */
  readonly keyLimit: AttemptLimit;
  /** How many requests a source may make. */
  readonly requestLimit: RateLimit;
  /** How many challenges there are for peers that ask: each is one try at a SAS. */
  readonly askLimit: RateLimit;
  /** How many failures an operator is told of. */
  readonly newsLimit: RateLimit;
  readonly emit: (event: PairingEvent) => void;
}
