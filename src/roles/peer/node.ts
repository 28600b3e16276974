import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { CairnError, PeerUnreachable } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { safetyNumber } from "../../protocol/crypto/safety_number.ts";
import { installPrimitives } from "../../protocol/crypto/primitives.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairRevoke } from "../../protocol/pairing_messages.ts";
import { ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import { MAX_CHANNEL_LENGTH } from "../../protocol/session/message_body.ts";
import { formatUuid } from "../../protocol/uuid.ts";
import type { LinkConnection } from "../link_connection.ts";
import { nativePrimitives } from "../native_primitives.ts";
import { ConnectionStates } from "./connection_state.ts";
import { Dispatcher } from "./dispatcher.ts";
import { HubClient } from "./hub_client.ts";
import { KnownSignaling } from "./known_signaling.ts";
import { Listeners } from "./listeners.ts";
import { openNodePaths, useHintedRelays } from "./node_paths.ts";
import { NodeStore } from "./node_store.ts";
import type {
  NetworkInfo,
  NodeEvents,
  NodeOptions,
  PairedPeer,
  Path,
  PeerSession,
  RosterMember,
  SentMessage,
} from "./node_api.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { hints, pairWith } from "./pair_with.ts";
import { aimOf, type PairingWay } from "./pairing_way.ts";
import { takeRepeatedSecret } from "./repeated_secret.ts";
import { ServerConversation } from "./server_conversation.ts";
import { linkUrl } from "./dial_link.ts";
import { ServerLink } from "./server_link.ts";
import { until } from "./until.ts";
import type { UdpPaths } from "../path/udp_paths.ts";

const log = getLogger(["cairn", "peer"]);

/** Most bytes that one message may carry: what fits an envelope with everything around it. */
export const MAX_DATA_LENGTH = 1_048_576 - 16_384;
const HEARTBEAT = 30_000;
const PAIRING_TIMEOUT = 60_000;
const UNPAIR_TIMEOUT = 5_000;
const PUBLISH_TIMEOUT = 15_000;
const SWEEP_INTERVAL = 600_000;

/**
 * A peer: pairs with servers, writes to peers that may be away, and receives from them.
 *
 * @example
 * ```ts no-eval
 * const node = await Node.create({ storagePath: "./alice", signalServer: "ws://localhost:8443" });
 * await node.start();
 * await node.pairWithPsk("correct horse battery staple", serverPeerId);
 * node.on("message", (message) => console.log(message.from.toString(), message.data));
 * ```
 */
export class Node {
  readonly #options: NodeOptions;
  readonly #store: NodeStore;
  readonly #host: Host;
  readonly #listeners = new Listeners<NodeEvents>();
  readonly #signaling: KnownSignaling;
  readonly #links = new Map<string, ServerLink>();
  readonly #conversations = new Map<LinkConnection, ServerConversation>();
  readonly #sending = new Map<OutboxEntry, PromiseWithResolvers<void>>();
  readonly #closing = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #closed: Promise<void> | undefined;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #hub: HubClient;
  #paths: UdpPaths | undefined;
  #lastFailure: Error | undefined;

  private constructor(options: NodeOptions, store: NodeStore, host: Host) {
    this.#options = options;
    this.#store = store;
    this.#host = host;
    this.#signaling = new KnownSignaling(host);
    store.outboxEvents.accepted = (entry) => this.#sending.get(entry)?.resolve();
    store.outboxEvents.delivered = (entry) => {
      this.#sending.get(entry)?.resolve();
      this.#listeners.emit("delivered", { id: formatUuid(entry.id), to: entry.recipient });
    };
    store.outboxEvents.refused = (entry, error, dropped) => {
      this.#sending.get(entry)?.reject(error);
      // Messages keep their order: what is behind one that must wait waits with it.
      for (const [other, fate] of dropped ? [] : this.#sending) {
        if (other.recipient.equals(entry.recipient)) fate.reject(error);
      }
      const id = formatUuid(entry.id);
      this.#listeners.emit("refused", { id, to: entry.recipient, error, dropped });
    };
    this.#dispatcher = new Dispatcher(store.inbox, this.#listeners, () => {
      for (const conversation of this.#conversations.values()) conversation.roomMade();
      this.#hub.roomMade();
    });
    if (options.contactsOnly) store.inbox.accepts = (sender) => store.contacts.has(sender);
    this.#hub = new HubClient({
      store,
      context: this.#linkContext(),
      host,
      onRoster: (member) => this.#listeners.emit("roster", member),
      onPath: (peerId, path) => {
        this.#poke(peerId);
        this.#listeners.emit("path", { peerId, path });
      },
    });
    store.inbox.onRelease = () => this.#dispatcher.wake();
  }

  /**
   * Opens the storage folder, making it and an identity at the first start.
   *
   * @throws {CairnError} when the folder is in use, damaged or not writable.
   */
  static async create(options: NodeOptions): Promise<Node> {
    if (options.serverUrl !== undefined) linkUrl(options.serverUrl);
    installPrimitives(nativePrimitives);
    const host = options.host ?? systemHost;
    return new Node(options, await NodeStore.open(options.storagePath, host), host);
  }

  /** This peer's id. */
  get peerId(): PeerId {
    return this.#store.own.identity.peerId;
  }

  /** Why the latest attempt to reach a server failed, if it did. */
  get lastFailure(): Error | undefined {
    const signaling = this.#signaling.clients.map(({ lastError }) => lastError).find((error) =>
      error
    );
    return signaling ?? this.#lastFailure;
  }

  /** Begins to look for the paired servers and to keep links to them. */
  start(): Promise<void> {
    this.#requireOpen();
    if (this.#sweeper !== undefined) return Promise.resolve();
    const { signalServer, signalServers = [], signalAuthToken } = this.#options;
    this.#signaling.add(
      [...(signalServer ? [signalServer] : []), ...signalServers],
      signalAuthToken,
    );
    const pairings = this.#store.book.list();
    this.#signaling.add(pairings.flatMap((pairing) => pairing.signalServers));
    this.#openPaths();
    for (const { peerId } of pairings) this.#keepLink(peerId);
    const clock = new ExpiryClock(this.#host.now(), this.#host.monotonic());
    this.#sweeper = setInterval(() => {
      if (clock.observe(this.#host.now(), this.#host.monotonic())) void this.#sweep();
    }, SWEEP_INTERVAL);
    return Promise.resolve();
  }

  /** Registers a handler; returns what removes it. Message handlers are awaited one by one. */
  on<Name extends keyof NodeEvents>(
    name: Name,
    handler: (event: NodeEvents[Name]) => void | Promise<void>,
  ): () => void {
    const remove = this.#listeners.on(name, handler);
    if (name === "message") this.#dispatcher.wake();
    return remove;
  }

  /**
   * Pairs with a server by a key that both were given. Resolves when both have recorded it and the
   * server holds this peer's keys, so that others can write to it.
   *
   * @throws {CairnError} `pairing-failed`, `unreachable`, `invalid-option`.
   */
  async pairWithPsk(psk: string, server: PeerId | string): Promise<PeerId> {
    return await this.pair({ by: "psk", psk, peer: server.toString() });
  }

  /** Pairs with a server on whose list of approved peers this peer is. */
  async pairApproved(server: PeerId | string): Promise<PeerId> {
    return await this.pair({ by: "approved", peer: server.toString() });
  }

  /**
   * Pairs with the server that shows this PIN, which is found through the signaling servers.
   *
   * @throws {CairnError} `pairing-failed`, `unreachable`, `invalid-option`.
   */
  async pairWithPin(pin: string): Promise<PeerId> {
    return await this.pair({ by: "pin", pin });
  }

  /**
   * Pairs with the server that made this link. It may name a signaling server of its own.
   *
   * @throws {CairnError} `pairing-failed`, `unreachable`, `invalid-option`.
   */
  async pairWithLink(link: string): Promise<PeerId> {
    return await this.pair({ by: "link", link });
  }

  /**
   * Asks the operator of a server for approval, and waits for it. `onSas` gets six digits to
   * compare with those that the operator sees; after an interruption it may get others.
   *
   * @throws {CairnError} `pairing-failed` when the operator refuses; `timeout` when `signal` aborts.
   */
  async askToPair(
    server: PeerId | string,
    onSas: (sas: string) => void,
    signal?: AbortSignal,
  ): Promise<PeerId> {
    return await this.pair({ by: "ask", peer: server.toString() }, {
      onSas,
      ...(signal && { signal }),
    });
  }

  /** Pairs in the way that is said. The methods above are more convenient in a program. */
  async pair(
    way: PairingWay,
    options: { readonly onSas?: (sas: string) => void; readonly signal?: AbortSignal } = {},
  ): Promise<PeerId> {
    const { onSas = () => {}, signal } = options;
    const aim = aimOf(way, onSas);
    const limits = [this.#closing.signal, ...(signal ? [signal] : [])];
    if (way.by !== "ask") limits.push(AbortSignal.timeout(PAIRING_TIMEOUT));
    this.#requireOpen();
    const server = await this.#signaling.through(hints(aim, "signal"), () =>
      pairWith({
        aim,
        book: this.#store.book,
        clients: this.#signaling.clients,
        context: this.#linkContext(),
        urls: this.#options.serverUrl === undefined ? [] : [this.#options.serverUrl],
        signal: AbortSignal.any(limits),
      }));
    this.#keepLink(server);
    useHintedRelays(this.#paths, this.#options, hints(aim, "turn"));
    await this.#until(
      () =>
        [...this.#conversations].some(([link, { ready }]) => ready && link.remote.equals(server)),
      PUBLISH_TIMEOUT,
    );
    return server;
  }

  /**
   * Ends a pairing: tells the server if it can be reached soon, and forgets its keys. False when it
   * could not be told.
   */
  async unpair(peer: PeerId | string): Promise<boolean> {
    const server = PeerId.from(peer);
    if (!this.#store.book.has(server)) {
      throw new CairnError("not-paired", `Not paired with ${server}`);
    }
    const isTold = await this.#tellUnpaired(server);
    await this.#forget(server, "unpaired");
    return isTold;
  }

  /** The paired servers. */
  pairings(): PairedPeer[] {
    return this.#store.book.list().map(({ peerId, mechanism, pairedAt }) => ({
      peerId,
      mechanism,
      pairedAt,
      connected: this.#links.get(peerId.toString())?.link !== undefined,
    }));
  }

  /** The peers that the servers of this one tell of: names, and who is online. */
  roster(): RosterMember[] {
    return this.#hub.roster.list();
  }

  /** What the servers say of one peer. */
  rosterMember(peer: PeerId | string): RosterMember {
    return this.#hub.roster.member(PeerId.from(peer));
  }

  /** How messages to a peer leave now. */
  path(peer: PeerId | string): Path {
    return this.#hub.path(PeerId.from(peer));
  }

  /**
   * The number to compare with the person at the other end, over the phone as it were: 60 digits,
   * the same on both sides if each has the other's true Peer ID.
   */
  safetyNumber(peer: PeerId | string): string {
    return safetyNumber(this.peerId, PeerId.from(peer));
  }

  /** The peers that this one knows: those it wrote to, and those that were added. */
  contacts(): PeerId[] {
    return this.#store.contacts.list();
  }

  /** Lets a peer write to this one that takes messages of its contacts only. */
  async addContact(peer: PeerId | string): Promise<void> {
    await this.#store.contacts.add(PeerId.from(peer));
  }

  /** Forgets a contact. */
  async removeContact(peer: PeerId | string): Promise<void> {
    await this.#store.contacts.remove(PeerId.from(peer));
  }

  /** How this machine is connected, and what carries its links; asks relays, for some seconds. */
  async networkInfo(): Promise<NetworkInfo> {
    this.#requireOpen();
    await Promise.all([...this.#links.values()].map((link) => link.learnRelays()));
    const { kind, publicAddress } = await this.#paths?.probeNat() ?? { kind: "unknown" };
    const links = [...this.#links].flatMap(([peerId, { via }]) => via ? [{ peerId, via }] : []);
    return { natKind: kind, ...(publicAddress !== undefined && { publicAddress }), links };
  }

  /**
   * Waits for a server through which `peerId` can be written to.
   *
   * @throws {CairnError} `not-paired`, or `unreachable` after `timeout` milliseconds.
   */
  async connect(peer: PeerId | string, timeout = 30_000): Promise<PeerSession> {
    const peerId = PeerId.from(peer);
    this.#requirePairing();
    const isReady = () => [...this.#conversations.values()].some(({ ready }) => ready);
    await this.#until(isReady, timeout);
    return {
      peerId,
      send: (channel, data) =>
        this.send(peerId, channel, typeof data === "string" ? utf8(data) : data),
    };
  }

  /**
   * Durably queues a message and offers it to a server, now or as soon as one is reached.
   *
   * @throws {CairnError} `too-large`, `not-paired`, `refused` when too many wait.
   */
  async send(
    peer: PeerId | string,
    channel: string,
    data: Uint8Array,
  ): Promise<SentMessage> {
    const recipient = PeerId.from(peer);
    if (data.length > MAX_DATA_LENGTH) {
      throw new CairnError(
        "too-large",
        `The message has ${data.length} bytes; at most ${MAX_DATA_LENGTH} can be sent at once`,
      );
    }
    if (utf8(channel).length > MAX_CHANNEL_LENGTH) {
      throw new CairnError("too-large", `A channel name has at most ${MAX_CHANNEL_LENGTH} bytes`);
    }
    if (recipient.equals(this.peerId)) {
      throw new CairnError("refused", "A peer cannot send to itself");
    }
    this.#requirePairing();
    const queued = this.#store.outbox.enqueue(recipient, channel, data);
    const [entry] = await Promise.all([queued, this.#pin(recipient)]);
    const fate = Promise.withResolvers<void>();
    fate.promise.catch(() => {}).finally(() => this.#sending.delete(entry));
    this.#sending.set(entry, fate);
    this.#poke(recipient);
    this.#hub.want(recipient);
    return { id: formatUuid(entry.id), accepted: fate.promise };
  }

  /**
   * Ends links, timers and storage; messages not yet accepted wait for the next start. Called by a
   * message handler, it resolves before that handler's message is acknowledged, and the storage is
   * closed after it.
   */
  async close(): Promise<void> {
    this.#closed ??= this.#close();
    await (this.#dispatcher.isHandling ? this.#ended.promise : this.#closed);
  }

  async #close(): Promise<void> {
    this.#closing.abort(new CairnError("closed", "The node was closed"));
    clearInterval(this.#sweeper);
    await this.#hub.close();
    await Promise.all([...this.#conversations.values()].map((each) => each.close()));
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#paths?.close();
    await this.#signaling.close();
    const error = new CairnError("closed", "The node was closed; the message waits in its outbox");
    for (const fate of this.#sending.values()) fate.reject(error);
    this.#ended.resolve();
    await this.#dispatcher.close();
    await this.#store.close();
  }

  /** Resolves once the server has ended the link for it. */
  async #tellUnpaired(server: PeerId): Promise<boolean> {
    const link = () => this.#links.get(server.toString())?.link;
    try {
      await this.#until(() => link() !== undefined, UNPAIR_TIMEOUT);
      link()?.send(MessageType.PairRevoke, encodePairRevoke({ peerId: this.peerId }));
      await this.#until(() => link() === undefined, UNPAIR_TIMEOUT);
      return true;
    } catch (error) {
      log.debug("The server could not be told of the unpairing: {error}", { error });
      return false;
    }
  }

  /** Whoever is written to is known from here on. */
  async #pin(recipient: PeerId): Promise<void> {
    try {
      await this.#store.contacts.add(recipient);
    } catch (error) {
      log.warn("A contact could not be noted: {error}", { error });
    }
  }

  #poke(recipient: PeerId): void {
    for (const conversation of this.#conversations.values()) conversation.poke(recipient);
  }

  #linkContext() {
    return {
      identity: this.#store.own.identity,
      keys: this.#store.linkKeys,
      capabilities: this.#options.receive === false ? [] : ["receive", "roster", "relay"],
      host: this.#host,
      heartbeat: HEARTBEAT,
    };
  }

  /** Paths are found by signaling, which a pairing may be the first to bring. */
  #openPaths(): void {
    if (this.#signaling.clients.length === 0) return;
    this.#paths ??= openNodePaths(this.#options, this.#host, () => this.#signaling.clients);
  }

  #keepLink(server: PeerId): void {
    const text = server.toString();
    if (this.#links.has(text)) return this.#links.get(text)?.hurry();
    this.#openPaths();
    const states = new ConnectionStates((state, reason) => {
      this.#listeners.emit("state", { peerId: server, state, reason });
    });
    const link = new ServerLink({
      remote: server,
      book: this.#store.book,
      clients: this.#signaling.clients,
      context: this.#linkContext(),
      serverUrl: this.#options.serverUrl,
      paths: this.#paths,
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
  }

  #onLink(link: LinkConnection): void {
    const peerId = link.remote;
    this.#hub.serverUp(link);
    const conversation = new ServerConversation(link, {
      ...this.#store,
      host: this.#host,
      rolledBack: () => this.#store.startAfresh(),
      servers: () => this.#store.book.list().map(({ peerId }) => peerId.toString()),
      leftToOthers: (recipient) => this.#poke(recipient),
      isServedDirectly: (recipient) => this.#hub.serves(recipient),
      onHubMessage: (server, type, payload) => this.#hub.receive(server, type, payload),
      onReady: () => this.#listeners.emit("peerFound", { peerId }),
      onFailure: (error) => {
        this.#lastFailure = error;
      },
      onSecret: (link, payload) =>
        takeRepeatedSecret(link, payload, {
          book: this.#store.book,
          context: this.#linkContext(),
        }),
      onRevoked: (server) => {
        log.warn("The server {peer} has ended the pairing", { peer: server.toString() });
        this.#forget(server, "unpaired").catch((error) => {
          log.error("The end of a pairing could not be recorded: {error}", { error });
        });
      },
    });
    this.#conversations.set(link, conversation);
  }

  #onLinkEnd(link: LinkConnection): void {
    const peerId = link.remote;
    const conversation = this.#conversations.get(link);
    this.#hub.serverDown(link, this.#store.book.has(peerId));
    void conversation?.close().finally(() => this.#conversations.delete(link));
    this.#listeners.emit("peerLost", { peerId });
  }

  async #sweep(): Promise<void> {
    try {
      await this.#store.inbox.sweep();
    } catch (error) {
      log.warn("Old message ids could not be forgotten: {error}", { error });
    }
  }

  async #forget(server: PeerId, reason: string): Promise<void> {
    const link = this.#links.get(server.toString());
    this.#links.delete(server.toString());
    await this.#store.book.remove(server);
    await link?.close(reason);
  }

  #requireOpen(): void {
    if (this.#closing.signal.aborted) throw new CairnError("closed", "The node was closed");
  }

  #requirePairing(): void {
    this.#requireOpen();
    if (this.#store.book.list().length > 0) return;
    throw new CairnError(
      "not-paired",
      "This peer is not paired with any server yet; pair it first (cairn peer pair)",
    );
  }

  #until(isDone: () => boolean, timeout: number): Promise<void> {
    return until({
      isDone,
      timeout,
      signal: this.#closing.signal,
      subscribe: (look) => [this.on("state", look), this.on("peerFound", look)],
      timeoutError: () =>
        this.lastFailure instanceof CairnError ? this.lastFailure : new PeerUnreachable(
          "No server could be reached; check that it runs and how it can be found",
        ),
    });
  }
}
