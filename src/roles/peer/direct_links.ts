import { getLogger } from "@logtape/logtape";
import { RateLimit } from "../../base/rate_limit.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  acceptLink,
  initiateLink,
  type LinkConnection,
  type LinkContext,
} from "../link_connection.ts";
import type { Path } from "./node_api.ts";
import { PeerConversation, type PeerConversationParts } from "./peer_conversation.ts";
import { RelayedLinks, type RelayedSocket } from "./relayed_link.ts";
import type { RosterView } from "./roster_view.ts";

const log = getLogger(["cairn", "peer"]);

/** Links to other peers at a time; further ones are left to the mailbox. */
const MAX_PEERS = 64;
/** A link that was not used for so long is given back by the side that opened it. */
const IDLE = 120_000;
const SWEEP_INTERVAL = 30_000;
/** Links that one peer may open; each costs a handshake. */
const OPENINGS = { burst: 10, perSecond: 0.5 };
/** Pause after a relay's refusal; each further one doubles it. */
const FIRST_PAUSE = 5_000;
const LAST_PAUSE = 60_000;

/** What links to other peers stand on. */
export interface DirectLinksOptions extends Omit<PeerConversationParts, "onServed"> {
  readonly context: LinkContext;
  readonly roster: RosterView;
  /** Messages to the peer take another path from here on. */
  readonly onPath: (peer: PeerId, path: Path) => void;
}

interface Talk {
  readonly conversation: PeerConversation;
  readonly path: Path;
  /** This side opened it, and closes it when it is idle. */
  readonly isOwn: boolean;
}

/** The links to other peers, which messages take in place of a mailbox. */
export class DirectLinks {
  readonly #options: DirectLinksOptions;
  readonly #relays = new Map<LinkConnection, RelayedLinks>();
  /** Of each peer the latest last, which is the one that is sent on. */
  readonly #talks = new Map<string, Talk[]>();
  readonly #opening = new Set<string>();
  readonly #pauses = new Map<string, { until: number; length: number }>();
  readonly #openings = new RateLimit(OPENINGS);
  readonly #ending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #sweeper: ReturnType<typeof setInterval> | undefined;

  constructor(options: DirectLinksOptions) {
    this.#options = options;
  }

  /** A link to a server came up, or went down. */
  serverUp(link: LinkConnection): void {
    if (!link.capabilities.has("relay")) return;
    const onOpened = (socket: RelayedSocket) => void this.#accept(socket);
    this.#relays.set(link, new RelayedLinks(link, this.#options.host, onOpened));
  }

  serverDown(link: LinkConnection): void {
    const relay = this.#relays.get(link);
    this.#relays.delete(link);
    relay?.close();
  }

  /** Takes the relay's messages of a server; false for any other. @throws {ProtocolError} */
  receive(link: LinkConnection, type: number, payload: Uint8Array): boolean {
    return this.#relays.get(link)?.receive(type, payload) ?? false;
  }

  /** How messages to `peer` leave now. */
  path(peer: PeerId): Path {
    return this.#serving(peer)?.path ?? "mailbox";
  }

  /** Whether a link to `peer` itself takes its messages. */
  serves(peer: PeerId): boolean {
    return this.#serving(peer) !== undefined;
  }

  /** Something waits for `peer`: it is taken there, or a link is tried for what comes after. */
  want(peer: PeerId): void {
    const serving = this.#serving(peer);
    if (serving) return serving.conversation.poke();
    const text = peer.toString();
    const { host } = this.#options;
    const pausing = (this.#pauses.get(text)?.until ?? 0) > host.monotonic();
    if (pausing || this.#opening.has(text) || this.#talks.has(text)) return;
    if (this.#talks.size + this.#opening.size >= MAX_PEERS) return;
    const relay = this.#relayTo(peer);
    if (!relay) return;
    this.#opening.add(text);
    void this.#open(relay, peer).finally(() => this.#opening.delete(text));
  }

  /** Sends what nobody keeps on the link to `peer`, if there is one; see `PeerConversation`. */
  async sendTransient(peer: PeerId, channel: string, data: Uint8Array): Promise<boolean> {
    this.want(peer);
    return await this.#serving(peer)?.conversation.sendTransient(channel, data) ?? false;
  }

  /** The peer came online: what was refused before may work. */
  cameOnline(peer: PeerId): void {
    this.#pauses.delete(peer.toString());
  }

  /** Takes over a link to another peer, however it was made. */
  adopt(link: LinkConnection, path: Path, isOwn: boolean): void {
    if (this.#closing.signal.aborted) return link.close("going-away");
    const text = link.remote.toString();
    const older = this.#talks.get(text) ?? [];
    const conversation = new PeerConversation(link, {
      ...this.#options,
      onServed: (peer) => this.#onServed(peer),
    });
    this.#talks.set(text, [...older, { conversation, path, isOwn }]);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL);
    link.onClose = (reason) => this.#onEnd(conversation, reason);
  }

  roomMade(): void {
    for (const { conversation } of this.#all()) conversation.roomMade();
  }

  /** Ends every link; resolves when what came on them is stored. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#sweeper);
    for (const { conversation } of this.#all()) {
      this.#track(conversation.close().finally(() => conversation.link.close("going-away")));
    }
    await Promise.all(this.#ending);
    for (const relay of this.#relays.values()) relay.close();
  }

  #all(): Talk[] {
    return [...this.#talks.values()].flat();
  }

  #serving(peer: PeerId): Talk | undefined {
    return this.#talks.get(peer.toString())?.findLast(({ conversation }) => conversation.serves);
  }

  /** A relay behind which the peer is online, or may be. */
  #relayTo(peer: PeerId): RelayedLinks | undefined {
    const told = [...this.#relays].map(([link, relay]) => ({
      relay,
      presence: this.#options.roster.presence(link.remote, peer),
    }));
    const best = told.find(({ presence }) => presence === "online") ??
      told.find(({ presence }) => presence === undefined);
    return best?.relay;
  }

  async #open(relay: RelayedLinks, peer: PeerId): Promise<void> {
    const { context } = this.#options;
    const socket = relay.open(peer);
    const { signal } = this.#closing;
    try {
      this.adopt(
        await initiateLink(socket, context, { expectedPeer: peer, signal }),
        "relayed",
        true,
      );
      this.#pauses.delete(peer.toString());
    } catch (error) {
      if (signal.aborted) return;
      log.debug("No relayed link to {peer}: {reason}", {
        peer: peer.toString(),
        reason: socket.refusal ?? (error instanceof Error ? error.message : String(error)),
      });
      this.#pause(peer);
    }
  }

  async #accept(socket: RelayedSocket): Promise<void> {
    const { peerId } = socket;
    const isFull = this.#talks.size >= MAX_PEERS && !this.#talks.has(peerId.toString());
    const now = this.#options.host.monotonic();
    if (isFull || !this.#options.accepts(peerId)) return socket.close(1000, "refused");
    if (!this.#openings.take(peerId.toString(), now)) {
      return socket.close(1000, "too many attempts");
    }
    try {
      const link = await acceptLink(socket, this.#options.context, {
        signal: this.#closing.signal,
      });
      // The server names who opens; only the handshake proves it.
      if (!link.remote.equals(peerId)) return link.close("protocol-error");
      this.adopt(link, "relayed", false);
    } catch (error) {
      log.debug("A relayed link was not made: {error}", { error });
    }
  }

  #onServed(peer: PeerId): void {
    const talks = this.#talks.get(peer.toString()) ?? [];
    const current = this.#serving(peer);
    if (!current) return;
    for (const { conversation } of talks.slice(0, talks.indexOf(current))) {
      conversation.stopSending();
      // The lower Peer ID nominates the link that survives.
      const nominates = this.#options.context.identity.peerId.toString() < peer.toString();
      if (nominates) conversation.link.close("replaced");
    }
    this.#options.onPath(peer, current.path);
  }

  #onEnd(conversation: PeerConversation, reason: string): void {
    const { remote } = conversation.link;
    log.debug("A link to {peer} ended: {reason}", { peer: remote.toString(), reason });
    const text = remote.toString();
    const left = (this.#talks.get(text) ?? []).filter((talk) => talk.conversation !== conversation);
    if (left.length > 0) this.#talks.set(text, left);
    else this.#talks.delete(text);
    // The other side may have nominated one on which this side had stopped.
    for (const talk of left.toReversed()) {
      if (!this.serves(remote)) talk.conversation.resumeSending();
    }
    if (reason === "timeout" || reason === "protocol-error") this.#pause(remote);
    this.#track(conversation.close());
    if (!this.#closing.signal.aborted) this.#options.onPath(remote, this.path(remote));
  }

  #pause(peer: PeerId): void {
    const text = peer.toString();
    const now = this.#options.host.monotonic();
    const length = Math.min((this.#pauses.get(text)?.length ?? FIRST_PAUSE / 2) * 2, LAST_PAUSE);
    this.#pauses.set(text, { until: now + length, length });
  }

  #sweep(): void {
    const now = this.#options.host.monotonic();
    for (const { conversation, isOwn } of this.#all()) {
      const unused = now - conversation.lastUsed > IDLE;
      if (isOwn && unused && conversation.idle) conversation.link.close("going-away");
    }
    for (const [text, { until }] of this.#pauses) {
      if (until + LAST_PAUSE < now) this.#pauses.delete(text);
    }
  }

  #track(ending: Promise<void>): void {
    const tracked = ending.catch((error) => {
      log.error("What came on a link to a peer could not be stored: {error}", { error });
    }).finally(() => this.#ending.delete(tracked));
    this.#ending.add(tracked);
  }
}
