import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { installPrimitives } from "../../protocol/crypto/primitives.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairRevoke } from "../../protocol/pairing_messages.ts";
import { judgePsk, MIN_PSK_LENGTH } from "../../protocol/pairing/psk.ts";
import { ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import { MAX_CHANNEL_LENGTH } from "../../protocol/session/message_body.ts";
import { formatUuid } from "../../protocol/uuid.ts";
import type { LinkConnection } from "../link_connection.ts";
import { nativePrimitives } from "../native_primitives.ts";
import { ConnectionStates } from "./connection_state.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Listeners } from "./listeners.ts";
import { openNodePaths } from "./node_paths.ts";
import { NodeStore } from "./node_store.ts";
import type {
  NetworkInfo,
  NodeEvents,
  NodeOptions,
  PairedPeer,
  PeerSession,
  SentMessage,
} from "./node_api.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { type PairingProof, pairWith } from "./pair_with.ts";
import { ServerConversation } from "./server_conversation.ts";
import { linkUrl } from "./dial_link.ts";
import { ServerLink } from "./server_link.ts";
import { until } from "./until.ts";
import type { UdpPaths } from "../path/udp_paths.ts";
import { SignalClient } from "../signal_client.ts";

const log = getLogger(["cairn", "peer"]);

/** Most bytes that one message may carry: what fits an envelope with everything around it. */
export const MAX_DATA_LENGTH = 1_048_576 - 16_384;
const HEARTBEAT = 30_000;
const PAIRING_TIMEOUT = 30_000;
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
  readonly #clients: SignalClient[] = [];
  readonly #links = new Map<string, ServerLink>();
  readonly #conversations = new Map<LinkConnection, ServerConversation>();
  readonly #sending = new Map<OutboxEntry, PromiseWithResolvers<void>>();
  readonly #closing = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #closed: Promise<void> | undefined;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  readonly #dispatcher: Dispatcher;
  #paths: UdpPaths | undefined;
  #lastFailure: Error | undefined;

  private constructor(options: NodeOptions, store: NodeStore, host: Host) {
    this.#options = options;
    this.#store = store;
    this.#host = host;
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
    const signaling = this.#clients.map(({ lastError }) => lastError).find((error) => error);
    return signaling ?? this.#lastFailure;
  }

  /** Begins to look for the paired servers and to keep links to them. */
  start(): Promise<void> {
    this.#requireOpen();
    if (this.#sweeper !== undefined) return Promise.resolve();
    const { signalServer, signalServers = [], signalAuthToken } = this.#options;
    for (const url of new Set([...(signalServer ? [signalServer] : []), ...signalServers])) {
      const client = new SignalClient({
        url,
        host: this.#host,
        ...(signalAuthToken !== undefined && { authToken: signalAuthToken }),
      });
      this.#clients.push(client);
      client.start();
    }
    if (this.#clients.length > 0) this.#paths = openNodePaths(this.#options, this.#host);
    for (const { peerId } of this.#store.book.list()) this.#keepLink(peerId);
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
    if (judgePsk(psk) === "refused") {
      throw new CairnError(
        "invalid-option",
        `The pre-shared key is too short: at least ${MIN_PSK_LENGTH} bytes, better 16 or more`,
      );
    }
    return await this.#pair(PeerId.from(server), { mechanism: "psk", credential: utf8(psk) });
  }

  /** Pairs with a server on whose list of approved peers this peer is. */
  async pairApproved(server: PeerId | string): Promise<PeerId> {
    return await this.#pair(PeerId.from(server), { mechanism: "approved" });
  }

  /** Ends a pairing: tells the server if it can be told, and forgets its keys. */
  async unpair(peer: PeerId | string): Promise<void> {
    const server = PeerId.from(peer);
    if (!this.#store.book.has(server)) {
      throw new CairnError("not-paired", `Not paired with ${server}`);
    }
    const link = this.#links.get(server.toString());
    link?.link?.send(MessageType.PairRevoke, encodePairRevoke({ peerId: this.peerId }));
    await this.#forget(server, "unpaired");
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

  /** How this machine is connected, and what carries its links; asks relays, for some seconds. */
  async networkInfo(): Promise<NetworkInfo> {
    this.#requireOpen();
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
    const entry = await this.#store.outbox.enqueue(recipient, channel, data);
    const fate = Promise.withResolvers<void>();
    fate.promise.catch(() => {}).finally(() => this.#sending.delete(entry));
    this.#sending.set(entry, fate);
    this.#poke(recipient);
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
    await Promise.all([...this.#conversations.values()].map((each) => each.close()));
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#paths?.close();
    await Promise.all(this.#clients.map((client) => client.close()));
    const error = new CairnError("closed", "The node was closed; the message waits in its outbox");
    for (const fate of this.#sending.values()) fate.reject(error);
    this.#ended.resolve();
    await this.#dispatcher.close();
    await this.#store.close();
  }

  async #pair(server: PeerId, proof: PairingProof): Promise<PeerId> {
    await pairWith({
      acceptor: server,
      proof,
      book: this.#store.book,
      clients: this.#clients,
      context: this.#linkContext(),
      serverUrl: this.#options.serverUrl,
      signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(PAIRING_TIMEOUT)]),
    });
    this.#keepLink(server);
    await this.#until(
      () =>
        [...this.#conversations].some(([link, { ready }]) => ready && link.remote.equals(server)),
      PUBLISH_TIMEOUT,
    );
    return server;
  }

  #poke(recipient: PeerId): void {
    for (const conversation of this.#conversations.values()) conversation.poke(recipient);
  }

  #linkContext() {
    return {
      identity: this.#store.own.identity,
      keys: this.#store.linkKeys,
      capabilities: this.#options.receive === false ? [] : ["receive"],
      host: this.#host,
      heartbeat: HEARTBEAT,
    };
  }

  #keepLink(server: PeerId): void {
    const text = server.toString();
    if (this.#links.has(text)) return this.#links.get(text)?.hurry();
    const states = new ConnectionStates((state, reason) => {
      this.#listeners.emit("state", { peerId: server, state, reason });
    });
    const link = new ServerLink({
      remote: server,
      book: this.#store.book,
      clients: this.#clients,
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
    const conversation = new ServerConversation(link, {
      ...this.#store,
      host: this.#host,
      rolledBack: () => this.#store.startAfresh(),
      servers: () => this.#store.book.list().map(({ peerId }) => peerId.toString()),
      leftToOthers: (recipient) => this.#poke(recipient),
      onReady: () => this.#listeners.emit("peerFound", { peerId }),
      onFailure: (error) => {
        this.#lastFailure = error;
      },
      onRevoked: (server) => {
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
        this.lastFailure instanceof CairnError ? this.lastFailure : new CairnError(
          "unreachable",
          "No server could be reached; check that it runs and how it can be found",
        ),
    });
  }
}
