import { CairnError, PeerUnreachable } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { LinkContext } from "../link_connection.ts";
import type { LocalSearch } from "../mdns/local_look.ts";
import type { KnownSignaling } from "./known_signaling.ts";
import type { PairedPeer, PeerNodeOptions } from "./node_api.ts";
import type { NodeStore } from "./node_store.ts";
import { hints, pairWith } from "./pair_with.ts";
import { aimOf, type PairingWay } from "./pairing_way.ts";
import type { DatagramWays, ServerLinks } from "./server_links.ts";

const PAIRING_TIMEOUT = 60_000;
const PUBLISH_TIMEOUT = 15_000;

/** What the pairings of a peer stand on. */
export interface PairingsParts {
  readonly options: PeerNodeOptions;
  readonly store: NodeStore;
  readonly context: LinkContext;
  readonly signaling: KnownSignaling;
  readonly servers: ServerLinks;
  readonly datagrams?: DatagramWays | undefined;
  readonly local?: LocalSearch | undefined;
  /** Aborted, with the reason, when the node closes. */
  readonly closing: AbortSignal;
}

/** With which servers a peer is paired: from the first call until it is forgotten. */
export class Pairings {
  constructor(private readonly parts: PairingsParts) {}

  /** As {@linkcode PeerNode.pair}. */
  async pair(
    way: PairingWay,
    { onSas = () => {}, signal }: {
      readonly onSas?: (sas: string) => void;
      readonly signal?: AbortSignal;
    },
  ): Promise<PeerId> {
    const { options, store, context, signaling, servers, datagrams, local, closing } = this.parts;
    const aim = aimOf(way, onSas);
    const limits = [closing, ...(signal ? [signal] : [])];
    if (way.by !== "ask") limits.push(AbortSignal.timeout(PAIRING_TIMEOUT));
    closing.throwIfAborted();
    const server = await signaling.through(hints(aim, "signal"), () =>
      pairWith({
        aim,
        book: store.book,
        clients: signaling.clients,
        context,
        urls: options.serverUrl === undefined ? [] : [options.serverUrl],
        local,
        signal: AbortSignal.any(limits),
      }));
    servers.keep(server);
    const paths = servers.openPaths();
    if (paths) datagrams?.learn(paths, hints(aim, "turn"));
    await this.#linked(server);
    return server;
  }

  /** As {@linkcode PeerNode.unpair}. */
  async unpair(server: PeerId): Promise<boolean> {
    const { store, servers } = this.parts;
    if (!store.book.has(server)) throw new CairnError("not-paired", `Not paired with ${server}`);
    const isTold = await servers.tellUnpaired(server);
    await servers.forget(server);
    return isTold;
  }

  /** Waits until others can write to this peer. @throws {PeerUnreachable} when that takes too long. */
  async #linked(server: PeerId): Promise<void> {
    const { servers, closing } = this.parts;
    try {
      await servers.ready(PUBLISH_TIMEOUT, server);
    } catch (cause) {
      closing.throwIfAborted();
      throw new PeerUnreachable(
        `The pairing with ${server} is made, and need not be repeated; but no link to it has come ` +
          "up, so that nobody can write to this peer until it runs and reaches the server",
        { cause },
      );
    }
  }

  list(): PairedPeer[] {
    const { store, servers } = this.parts;
    return store.book.list().map(({ peerId, mechanism, pairedAt }) => ({
      peerId,
      mechanism,
      pairedAt,
      connected: servers.isUp(peerId),
    }));
  }
}
