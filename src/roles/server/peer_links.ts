import { getLogger } from "@logtape/logtape";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairRevoke } from "../../protocol/pairing_messages.ts";
import { acceptLink, type LinkConnection } from "../link_connection.ts";
import type { FrameSocket } from "../web_socket.ts";
import { type PeerLinksOptions, ServedLink } from "./served_link.ts";

const log = getLogger(["cairn", "server"]);

const MAX_HANDSHAKES = 256;
const MAX_HANDSHAKES_PER_SOURCE = 64;
const MAX_LINKS_PER_PEER = 4;

/** Accepts links and serves those of paired peers; all others go to the pairing desk. */
export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #links = new Map<string, ServedLink[]>();
  readonly #stopping = new AbortController();
  readonly #handshakes = new Set<{ source: string; abort: AbortController }>();
  /** Handshakes by how they ended, since the start. */
  readonly handshakes = { paired: 0, stranger: 0, failed: 0 };
  /** Called when the first link of a paired peer comes up, and when its last one ends. */
  onPresence: (peerId: PeerId, connected: boolean) => void = () => {};

  constructor(options: PeerLinksOptions) {
    this.#options = options;
  }

  /** Runs the handshake on a new carrier. `source` names where it came from, for limits. */
  async accept(socket: FrameSocket, source: string): Promise<void> {
    const sameSource = [...this.#handshakes].filter((other) => other.source === source);
    // Whoever holds the most unfinished handshakes open gives one up for a newcomer.
    if (sameSource.length >= MAX_HANDSHAKES_PER_SOURCE) sameSource[0]?.abort.abort();
    else if (this.#handshakes.size >= MAX_HANDSHAKES) this.#oldestOfTheLargest()?.abort.abort();
    const handshake = { source, abort: new AbortController() };
    this.#handshakes.add(handshake);
    try {
      const link = await acceptLink(socket, this.#options.context, {
        signal: AbortSignal.any([this.#stopping.signal, handshake.abort.signal]),
      });
      if (this.#options.book.has(link.remote)) {
        this.handshakes.paired++;
        this.#serve(link, source);
      } else {
        this.handshakes.stranger++;
        this.#options.pairing.welcome(link, source);
      }
    } catch (error) {
      this.handshakes.failed++;
      log.debug("A handshake failed: {message}", {
        message: error instanceof Error ? error.message : String(error),
      });
    } finally {
      this.#handshakes.delete(handshake);
    }
  }

  #oldestOfTheLargest() {
    const bySource = Map.groupBy(this.#handshakes, ({ source }) => source);
    const largest = [...bySource.values()].sort((a, b) => b.length - a.length)[0];
    return largest?.[0];
  }

  isConnected(peerId: PeerId): boolean {
    return this.#links.has(peerId.toString());
  }

  /** Links of paired peers; one peer may have several. */
  get count(): number {
    return [...this.#links.values()].reduce((sum, links) => sum + links.length, 0);
  }

  /** Ends every link of a peer. */
  disconnect(peerId: PeerId, reason: string): void {
    for (const { link } of [...this.#links.get(peerId.toString()) ?? []]) link.close(reason);
  }

  /** Ends all links and waits for what they had under way. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const all = [...this.#links.values()].flat();
    for (const { link } of all) link.close("going-away");
    await Promise.all(all.map((served) => served.idle()));
  }

  #serve(link: LinkConnection, source: string): void {
    const { book, context } = this.#options;
    const text = link.remote.toString();
    const older = this.#links.get(text) ?? [];
    const served = new ServedLink(link, this.#options, source, async () => {
      await this.unpair(link.remote, "peer");
    });
    this.#links.set(text, [...older, served]);
    if (older.length === 0) this.onPresence(link.remote, true);
    for (const [index, other] of older.entries()) {
      if (link.capabilities.has("receive")) other.stopDeliveries();
      // The lower Peer ID nominates the link that survives; it ends the others once they are idle.
      const nominates = context.identity.peerId.toString() < text;
      if (nominates || index < older.length + 1 - MAX_LINKS_PER_PEER) {
        void other.idle().then(() => other.link.close("replaced"));
      }
    }
    link.onClose = (reason) => {
      log.debug("A peer's link ended: {reason}", { reason });
      served.stop();
      const left = (this.#links.get(text) ?? []).filter((other) => other !== served);
      if (left.length > 0) this.#links.set(text, left);
      else if (this.#links.delete(text)) this.onPresence(link.remote, false);
      left.findLast((other) => other.link.capabilities.has("receive"))?.startDeliveries();
      void book.seen(link.remote, context.host.now());
    };
    served.start();
    void book.seen(link.remote, context.host.now());
  }

  /**
   * Ends a pairing from either side: its keys, what waits for the peer, and its links, over which
   * the peer is told. False when there is none.
   */
  async unpair(peerId: PeerId, by: "operator" | "peer"): Promise<boolean> {
    const { book, desk, shelf, pairing, context } = this.#options;
    if (!book.has(peerId)) return false;
    await book.remove(peerId);
    if (by === "operator") {
      const revoke = encodePairRevoke({ peerId: context.identity.peerId });
      for (const { link } of this.#links.get(peerId.toString()) ?? []) {
        link.send(MessageType.PairRevoke, revoke);
      }
    }
    await desk?.removePeer(peerId);
    await shelf.remove(peerId);
    this.disconnect(peerId, "unpaired");
    log.info("The pairing with {peer} was ended by the {by}", { peer: peerId.toString(), by });
    pairing.emit({ kind: "unpaired", peerId, by });
    return true;
  }
}
