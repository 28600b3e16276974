import { getLogger } from "@logtape/logtape";
import { CairnError, PeerUnreachable } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairRevoke } from "../../protocol/pairing_messages.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import type { LocalSearch } from "../mdns/local_look.ts";
import type { UdpPaths } from "../path/udp_paths.ts";
import { ConnectionStates } from "./connection_state.ts";
import type { HubClient } from "./hub_client.ts";
import type { KnownSignaling } from "./known_signaling.ts";
import type { Listeners } from "./listeners.ts";
import { signalingFailure } from "../ranked_clients.ts";
import type { SignalClient } from "../signal_client.ts";
import type { NetworkInfo, NodeEvents, PeerNodeOptions } from "./node_api.ts";
import { MailboxChoice } from "./mailbox_choice.ts";
import type { NodeStore } from "./node_store.ts";
import { takeRepeatedSecret } from "./repeated_secret.ts";
import { ServerConversation } from "./server_conversation.ts";
import { ServerLink } from "./server_link.ts";
import { until } from "./until.ts";

const log = getLogger(["cairn", "peer"]);

/** How long a server is looked for that is to be told of the end of a pairing. */
const UNPAIR_TIMEOUT = 5_000;

/** Ways of datagrams to servers. */
export interface DatagramWays {
  /** Opens them, with the signaling by which they are found. */
  open(clients: () => readonly SignalClient[]): UdpPaths;
  /** Takes the relays that a pairing link names. */
  learn(paths: UdpPaths, uris: readonly string[]): void;
}

/** What the links to servers stand on. */
export interface ServerLinksParts {
  readonly options: PeerNodeOptions;
  readonly store: NodeStore;
  readonly host: Host;
  readonly context: LinkContext;
  readonly signaling: KnownSignaling;
  readonly hub: HubClient;
  readonly listeners: Listeners<NodeEvents>;
  /** Aborted, with the reason, when the node closes. */
  readonly closing: AbortSignal;
  readonly datagrams?: DatagramWays | undefined;
  readonly local?: LocalSearch | undefined;
}

/** The links to the paired servers, and what is said on them. */
export class ServerLinks {
  readonly #parts: ServerLinksParts;
  readonly #links = new Map<string, ServerLink>();
  readonly #conversations = new Map<LinkConnection, ServerConversation>();
  /** End what is told of servers that come to the local network. */
  readonly #unwatch = new Map<string, (() => void) | undefined>();
  readonly #mailboxes: MailboxChoice;
  #paths: UdpPaths | undefined;
  #lastFailure: Error | undefined;

  constructor(parts: ServerLinksParts) {
    this.#parts = parts;
    const { store, host } = parts;
    this.#mailboxes = new MailboxChoice({
      outbox: store.outbox,
      host,
      servers: () => this.#servers(),
      onGone: (recipient) => this.poke(recipient),
    });
  }

  /** Why the latest attempt to reach a server failed, if it did. */
  get lastFailure(): Error | undefined {
    return signalingFailure(this.#parts.signaling.clients) ?? this.#lastFailure;
  }

  /** Begins to look for the paired servers, by the signaling of its user and theirs. */
  start(): void {
    const { options, signaling, store } = this.#parts;
    const { signalServer, signalServers = [], signalAuthToken } = options;
    signaling.add([...(signalServer ? [signalServer] : []), ...signalServers], signalAuthToken);
    const pairings = store.book.list();
    signaling.add(pairings.flatMap((pairing) => pairing.signalServers));
    this.openPaths();
    for (const { peerId } of pairings) this.keep(peerId);
  }

  /** Paths are found by signaling, which a pairing may be the first to bring. */
  openPaths(): UdpPaths | undefined {
    const { signaling, datagrams } = this.#parts;
    if (signaling.clients.length > 0) {
      this.#paths ??= datagrams?.open(() => signaling.clients);
    }
    return this.#paths;
  }

  /** How this machine is connected, and what carries each link now. */
  async networkInfo(): Promise<NetworkInfo> {
    // Nothing else may have asked signaling for the relays of servers.
    await Promise.all([...this.#links.values()].map((link) => link.learnRelays()));
    const { kind, publicAddress } = await this.openPaths()?.probeNat() ?? { kind: "unknown" };
    return {
      natKind: kind,
      ...(publicAddress !== undefined && { publicAddress }),
      links: [...this.#links].flatMap(([peerId, { via }]) => via ? [{ peerId, via }] : []),
    };
  }

  isUp(server: PeerId): boolean {
    return this.#link(server) !== undefined;
  }

  /** @throws {CairnError} `not-paired` when there is no server, or why the node has closed. */
  requirePaired(): void {
    this.#parts.closing.throwIfAborted();
    if (this.#parts.store.book.list().length > 0) return;
    throw new CairnError(
      "not-paired",
      "This peer is not paired with any server yet; pair it first",
    );
  }

  /** Something waits in the outbox. */
  poke(recipient: PeerId): void {
    for (const conversation of this.#conversations.values()) conversation.poke(recipient);
  }

  /** The application has made room in the inbox. */
  roomMade(): void {
    for (const conversation of this.#conversations.values()) conversation.roomMade();
  }

  /** The network may be another one, or back. */
  networkChanged(): void {
    for (const link of this.#links.values()) link.networkChanged();
  }

  /** Looks for a paired server from here on, and keeps a link to it. */
  keep(server: PeerId): void {
    const text = server.toString();
    if (this.#links.has(text)) return this.#links.get(text)?.hurry();
    const { store, signaling, context, options, listeners } = this.#parts;
    const states = new ConnectionStates((state, reason) => {
      listeners.emit("state", { peerId: server, state, reason });
    });
    const link = new ServerLink({
      remote: server,
      book: store.book,
      clients: signaling.clients,
      context,
      serverUrl: options.serverUrl,
      paths: this.openPaths(),
      local: this.#parts.local,
      onLink: (connection) => {
        this.#onLink(connection);
        states.linkUp();
      },
      onEnd: (connection, reason) => {
        states.linkDown(reason);
        this.#onLinkEnd(connection);
      },
      onSteady: (isSteady) => states.steady(isSteady),
      onSearch: () => states.searching(),
      onFailure: (error) => {
        this.#lastFailure = error;
        const isFinal = error instanceof CairnError && error.code === "not-paired";
        if (isFinal) states.failed(error.message);
        else states.searchFailed(error.message);
      },
    });
    this.#links.set(text, link);
    this.#unwatch.set(text, this.#parts.local?.watch(server, () => link.hurry()));
    this.#mailboxes.expect();
  }

  /**
   * Resolves when a server (or `server`) holds this peer's keys, so that others can write to it.
   *
   * @throws {CairnError} why none was reached after `timeout` milliseconds.
   */
  ready(timeout: number, server?: PeerId): Promise<void> {
    const isReady = () =>
      [...this.#conversations].some(([link, { ready }]) =>
        ready && (server === undefined || link.remote.equals(server))
      );
    return this.#until(isReady, timeout);
  }

  /** Tells `server` that the pairing ends; false when it could not be reached. */
  async tellUnpaired(server: PeerId): Promise<boolean> {
    const { peerId } = this.#parts.context.identity;
    try {
      await this.#until(() => this.isUp(server), UNPAIR_TIMEOUT);
      this.#link(server)?.send(MessageType.PairRevoke, encodePairRevoke({ peerId }));
      // The server ends the link for it.
      await this.#until(() => !this.isUp(server), UNPAIR_TIMEOUT);
      return true;
    } catch (error) {
      log.debug("The server could not be told of the unpairing: {error}", { error });
      return false;
    }
  }

  /** Ends the pairing here. */
  async forget(server: PeerId): Promise<void> {
    const link = this.#links.get(server.toString());
    this.#links.delete(server.toString());
    this.#unwatch.get(server.toString())?.();
    this.#unwatch.delete(server.toString());
    await this.#parts.store.book.remove(server);
    await link?.close("unpaired");
  }

  /** Ends every link; resolves when what came on them is stored. */
  async close(): Promise<void> {
    this.#mailboxes.close();
    await Promise.all([...this.#conversations.values()].map((each) => each.close()));
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#paths?.close();
    await this.#parts.local?.close();
  }

  #servers(): string[] {
    return this.#parts.store.book.list().map(({ peerId }) => peerId.toString());
  }

  #link(server: PeerId): LinkConnection | undefined {
    return this.#links.get(server.toString())?.link;
  }

  #onLink(link: LinkConnection): void {
    const { store, host, hub, context, listeners } = this.#parts;
    const peerId = link.remote;
    hub.serverUp(link);
    this.#mailboxes.linkUp(peerId);
    const conversation = new ServerConversation(link, {
      ...store,
      host,
      rolledBack: () => store.startAfresh(),
      servers: () => this.#servers(),
      mailboxes: this.#mailboxes,
      leftToOthers: (recipient) => this.poke(recipient),
      isServedDirectly: (recipient) => hub.serves(recipient),
      onHubMessage: (server, type, payload) => hub.receive(server, type, payload),
      onReady: () => listeners.emit("peerFound", { peerId }),
      onFailure: (error) => {
        this.#lastFailure = error;
      },
      onSecret: (link, payload) => takeRepeatedSecret(link, payload, { book: store.book, context }),
      onRevoked: (server) => {
        log.warn("The server {peer} has ended the pairing", { peer: server.toString() });
        this.forget(server).catch((error) => {
          log.error("The end of a pairing could not be recorded: {error}", { error });
        });
      },
    });
    this.#conversations.set(link, conversation);
  }

  #onLinkEnd(link: LinkConnection): void {
    const { hub, store, listeners } = this.#parts;
    const peerId = link.remote;
    const conversation = this.#conversations.get(link);
    hub.serverDown(link, store.book.has(peerId));
    this.#mailboxes.linkDown(peerId);
    void conversation?.close().finally(() => this.#conversations.delete(link));
    listeners.emit("peerLost", { peerId });
  }

  #until(isDone: () => boolean, timeout: number): Promise<void> {
    const { closing: signal, listeners } = this.#parts;
    return until({
      isDone,
      timeout,
      signal,
      subscribe: (look) => [listeners.on("state", look), listeners.on("peerFound", look)],
      timeoutError: () =>
        this.lastFailure instanceof CairnError ? this.lastFailure : new PeerUnreachable(
          "No server could be reached; check that it runs and how it can be found",
        ),
    });
  }
}
