import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { decodeRoster, decodeRosterChange } from "../../protocol/hub_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import { DirectLinks } from "./direct_links.ts";
import type { Path, RosterMember, TransientMessage } from "./node_api.ts";
import type { NodeStore } from "./node_store.ts";
import type { Host } from "../../base/host.ts";
import { RosterView } from "./roster_view.ts";

/** What the hub's side of a peer stands on. */
export interface HubClientOptions {
  readonly store: NodeStore;
  readonly context: LinkContext;
  readonly host: Host;
  /** A peer of the roster looks different. */
  readonly onRoster: (member: RosterMember) => void;
  /** Messages to a peer take another path. */
  readonly onPath: (peer: PeerId, path: Path) => void;
  /** Shows a message that nobody keeps; resolves to whether the application took it. */
  readonly onTransient: (message: TransientMessage) => Promise<boolean>;
}

/** A peer's side of what its servers do for peers that are online: roster and relayed links. */
export class HubClient {
  readonly roster: RosterView;
  readonly #links: DirectLinks;

  constructor({ store, context, host, onRoster, ...rest }: HubClientOptions) {
    this.roster = new RosterView((member) => {
      if (member.online) this.#links.cameOnline(member.peerId);
      onRoster(member);
    });
    this.#links = new DirectLinks({
      ...store,
      context,
      host,
      roster: this.roster,
      accepts: (peer) => store.inbox.accepts(peer),
      ...rest,
    });
  }

  /** A link to a server came up. */
  serverUp(link: LinkConnection): void {
    this.#links.serverUp(link);
  }

  /** It went down; `isPaired` says whether the server is still one of this peer's. */
  serverDown(link: LinkConnection, isPaired: boolean): void {
    this.#links.serverDown(link);
    if (isPaired) this.roster.silent(link.remote);
    else this.roster.forget(link.remote);
  }

  /** Takes a message of a server; false when it is not for the hub. @throws {ProtocolError} */
  receive(link: LinkConnection, type: number, payload: Uint8Array): boolean {
    switch (type) {
      case MessageType.Roster:
        this.roster.take(link.remote, decodeRoster(payload));
        return true;
      case MessageType.RosterChange:
        this.roster.change(link.remote, decodeRosterChange(payload).rows);
        return true;
      default:
        return this.#links.receive(link, type, payload);
    }
  }

  /** Something waits for `peer`. */
  want(peer: PeerId): void {
    this.#links.want(peer);
  }

  /** Sends what nobody keeps on the link to `peer`, if there is one. */
  sendTransient(peer: PeerId, channel: string, data: Uint8Array): Promise<boolean> {
    return this.#links.sendTransient(peer, channel, data);
  }

  /** Whether a link to `peer` itself takes its messages. */
  serves(peer: PeerId): boolean {
    return this.#links.serves(peer);
  }

  path(peer: PeerId): Path {
    return this.#links.path(peer);
  }

  /** The application has made room in the inbox. */
  roomMade(): void {
    this.#links.roomMade();
  }

  /** Ends every link to another peer; resolves when what came on them is stored. */
  close(): Promise<void> {
    return this.#links.close();
  }
}
