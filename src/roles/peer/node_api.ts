import type { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";

/** Settings of every peer. */
export interface PeerNodeOptions {
  /** WebSocket URL of a signaling server, or several. */
  readonly signalServer?: string;
  /** Further signaling servers. */
  readonly signalServers?: readonly string[];
  /** Bearer token for the signaling servers. */
  readonly signalAuthToken?: string;
  /** Address of the server, tried beside what signaling finds. */
  readonly serverUrl?: string;
  /** Whether messages are to be delivered to this node; default true. */
  readonly receive?: boolean;
  /** Refuse messages and links of peers that are no contacts; default false. */
  readonly contactsOnly?: boolean;
  /** Clocks and randomness; default the system's. */
  readonly host?: Host;
}

/** Settings of a {@linkcode Node}. */
export interface NodeOptions extends PeerNodeOptions {
  /** Folder for keys and messages; one process at a time. */
  readonly storagePath: string;
  /** Encrypts what is in the folder; the whole life of it, from the first start on. */
  readonly storePassphrase?: string;
  /** TURN servers, as `turn:` and `turns:` URIs, beside those that paired servers give access to. */
  readonly turnServers?: readonly string[];
  /**
   * The user of these servers; without one they are not used. Where none is named, it is the user of
   * the one that a pairing link names.
   */
  readonly turnUser?: { readonly username: string; readonly password: string };
  /** Whether servers are looked for on the local network, too, by mDNS; default false. */
  readonly mdns?: boolean;
}

/** Settings of a `BrowserNode`. */
export interface BrowserNodeOptions extends PeerNodeOptions {
  /**
   * Names the browser's database for keys and messages; one page of an origin at a time. Default
   * `cairn`.
   */
  readonly storageName?: string;
  /**
   * Milliseconds that another page which has it open is waited for, or `Infinity`. Default 3,000:
   * what the page before this one needs to go.
   */
  readonly storageTimeout?: number;
}

/** A message for the application; acknowledged when its handler has resolved. */
export interface ReceivedMessage {
  /** UUID; the same if the message is shown again after a crash. */
  readonly id: string;
  /** The sender, proved end to end. */
  readonly from: PeerId;
  /** The channel that the sender named; may be empty. */
  readonly channel: string;
  /** What was sent. */
  readonly data: Uint8Array;
  /** Unix milliseconds by the sender's clock. */
  readonly sentAt: number;
  /**
   * How many broadcasts of this sender went out before, to others only: this is the first that this
   * peer can read. Absent in every other message.
   */
  readonly unreadable?: number;
}

/** A message that was kept nowhere; see {@linkcode Node.sendTransient}. */
export interface TransientMessage {
  /** The sender, proved by its link. */
  readonly from: PeerId;
  /** The channel that the sender named; may be empty. */
  readonly channel: string;
  /** What was sent. */
  readonly data: Uint8Array;
}

/** A message on its way. */
export interface SentMessage {
  /** UUID of the message, the same at its reader. */
  readonly id: string;
  /** Resolves when a server holds it durably or the reader has it; rejects when refused. */
  readonly accepted: Promise<void>;
}

/** One message of a broadcast on its way to one of its recipients. */
export interface SentCopy extends SentMessage {
  /** Whom it is for. */
  readonly to: PeerId;
}

/** Settings of one {@linkcode Node.send}. */
export interface SendOptions {
  /** Whether whoever is written to becomes a contact of this peer; default true. */
  readonly addsContact?: boolean;
}

/** Settings of one {@linkcode Node.broadcast}. */
export interface BroadcastOptions extends SendOptions {
  /**
   * The recipients, at most 64: all of them get it, or none. By default it is for every contact, but
   * those that no server knows; a contact for whom too many wait is left out, and its copy refused.
   */
  readonly to?: readonly (PeerId | string)[];
}

/** A paired peer, as {@linkcode Node.pairings} lists it. */
export interface PairedPeer {
  /** Who it is. */
  readonly peerId: PeerId;
  /** How it was paired: `psk`, `pin`, `link` or `approved`. */
  readonly mechanism: string;
  /** Unix milliseconds. */
  readonly pairedAt: number;
  /** Whether there is a link to it now. */
  readonly connected: boolean;
}

/** A peer that shares a server with this one. */
export interface RosterMember {
  /** Who it is; what counts. */
  readonly peerId: PeerId;
  /** What the server's operator calls it: for display, and no proof of anything. */
  readonly name: string | undefined;
  /** Whether some server says that it listens now. */
  readonly online: boolean;
  /** False once no server knows it any more. */
  readonly known: boolean;
}

/** How messages to a peer leave now. */
export type Path = "direct" | "relayed" | "mailbox";

/** How a machine is connected, as {@linkcode Node.networkInfo} finds it. */
export interface NetworkInfo {
  /** What the NAT does; `unknown` without a TURN server over UDP that can be asked. */
  readonly natKind:
    | "open"
    | "full_cone"
    | "restricted_cone"
    | "port_restricted_cone"
    | "symmetric"
    | "unknown";
  /** `ip:port` of this node's datagrams as others see them. */
  readonly publicAddress?: string;
  /** What carries each link to a server: a URL, or `direct` or `relayed` and an address. */
  readonly links: readonly { readonly peerId: string; readonly via: string }[];
}

/** Events of a {@linkcode Node} and what their handlers get. */
export interface NodeEvents {
  /** A message came; it is acknowledged when every handler has resolved. */
  message: ReceivedMessage;
  /**
   * A message came that nobody keeps. Those of one peer come one by one; the sender hears that it
   * was taken when every handler has resolved.
   */
  transient: TransientMessage;
  /**
   * How the link to a paired server is doing: `unstable` while its way does not answer,
   * `disconnected`, `reconnecting`, `suspended` between two searches, `reconnected` and at once
   * `connected`; `failed` when the server will not have this peer any more.
   */
  state: {
    peerId: PeerId;
    state:
      | "connected"
      | "unstable"
      | "disconnected"
      | "reconnecting"
      | "suspended"
      | "reconnected"
      | "failed";
    reason: string;
  };
  /** A server was reached and holds this peer's keys. */
  peerFound: { peerId: PeerId };
  /** The link to a server ended. */
  peerLost: { peerId: PeerId };
  /** A peer of the roster came, went, was renamed or removed. */
  roster: RosterMember;
  /** Messages to a peer take another path. */
  path: { peerId: PeerId; path: Path };
  /** The recipient has the message. */
  delivered: { id: string; to: PeerId };
  /**
   * The node has closed without being asked to: its page was left, or what it has stored was taken
   * away from it.
   */
  closed: { error: CairnError };
  /** The message was given up, or waits because it was refused for now. */
  refused: { id: string; to: PeerId; error: CairnError; dropped: boolean };
}

/** What {@linkcode Node.connect} gives: a way to write to one peer. */
export interface PeerSession {
  /** The peer at the other end. */
  readonly peerId: PeerId;
  /** Sends bytes or text. @throws {CairnError} as {@linkcode Node.send} does. */
  send(channel: string, data: Uint8Array | string): Promise<SentMessage>;
}
