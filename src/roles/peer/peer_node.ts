import { getLogger } from "@logtape/logtape";
import { utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { safetyNumber } from "../../protocol/crypto/safety_number.ts";
import { ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import { MAX_CHANNEL_LENGTH } from "../../protocol/message_types.ts";
import { formatUuid } from "../../protocol/uuid.ts";
import type { LinkContext } from "../link_connection.ts";
import type { LocalSearch } from "../mdns/local_look.ts";
import { Dispatcher, type HandlerScope } from "./dispatcher.ts";
import { HubClient } from "./hub_client.ts";
import { KnownSignaling } from "./known_signaling.ts";
import { Listeners } from "./listeners.ts";
import type { NodeStore } from "./node_store.ts";
import type {
  BroadcastOptions,
  NetworkInfo,
  NodeEvents,
  PairedPeer,
  Path,
  PeerNodeOptions,
  PeerSession,
  RosterMember,
  SendOptions,
  SentCopy,
  SentMessage,
} from "./node_api.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { fullError } from "./outbox_intake.ts";
import { hints, pairWith } from "./pair_with.ts";
import { aimOf, type PairingWay } from "./pairing_way.ts";
import { SentMessages } from "./sent_messages.ts";
import { type DatagramWays, ServerLinks } from "./server_links.ts";
import { TRANSIENT } from "./transient_exchange.ts";

const log = getLogger(["cairn", "peer"]);

/** Most bytes that one message may carry: what fits an envelope with everything around it. */
export const MAX_DATA_LENGTH: number = 1_048_576 - 16_384;
const MAX_RECIPIENTS = 64;
const HEARTBEAT = 30_000;
const PAIRING_TIMEOUT = 60_000;
const PUBLISH_TIMEOUT = 15_000;
const SWEEP_INTERVAL = 600_000;

/** What a peer stands on, which is another thing in a program than in a page. */
export interface PeerPlatform {
  readonly store: NodeStore;
  readonly host: Host;
  readonly handlers: HandlerScope;
  /** Absent where there are no sockets for datagrams. */
  readonly datagrams?: DatagramWays;
  /** Absent where the local network is not to be asked, or cannot be. */
  readonly local?: LocalSearch | undefined;
}

/**
 * A peer: pairs with servers, writes to peers that may be away, and receives from them. In a
 * program it is a `Node`, in a page a `BrowserNode`, which differ in what they are made from.
 */
export class PeerNode {
  readonly #options: PeerNodeOptions;
  readonly #store: NodeStore;
  readonly #host: Host;
  readonly #datagrams: DatagramWays | undefined;
  readonly #local: LocalSearch | undefined;
  readonly #listeners = new Listeners<NodeEvents>();
  readonly #signaling: KnownSignaling;
  readonly #closing = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #closed: Promise<void> | undefined;
  #failure: CairnError | undefined;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #context: LinkContext;
  readonly #hub: HubClient;
  readonly #servers: ServerLinks;
  readonly #sent: SentMessages;

  /** @ignore */
  protected constructor(options: PeerNodeOptions, platform: PeerPlatform) {
    const { store, host, handlers, datagrams, local } = platform;
    this.#options = options;
    this.#store = store;
    this.#host = host;
    this.#datagrams = datagrams;
    this.#local = local;
    this.#signaling = new KnownSignaling(host);
    this.#context = {
      identity: store.own.identity,
      keys: store.linkKeys,
      capabilities: options.receive === false ? [] : ["receive", "roster", "relay", TRANSIENT],
      host,
      heartbeat: HEARTBEAT,
    };
    this.#sent = new SentMessages(store.outboxEvents, this.#listeners);
    this.#dispatcher = new Dispatcher(store.inbox, this.#listeners, handlers, () => {
      this.#servers.roomMade();
      this.#hub.roomMade();
    });
    if (options.contactsOnly) store.inbox.accepts = (sender) => store.contacts.has(sender);
    this.#hub = new HubClient({
      store,
      context: this.#context,
      host,
      onRoster: (member) => this.#listeners.emit("roster", member),
      onPath: (peerId, path) => {
        this.#servers.poke(peerId);
        this.#listeners.emit("path", { peerId, path });
      },
      onTransient: (message) => this.#listeners.take("transient", message),
    });
    this.#servers = new ServerLinks({
      options,
      store,
      host,
      context: this.#context,
      signaling: this.#signaling,
      hub: this.#hub,
      listeners: this.#listeners,
      closing: this.#closing.signal,
      datagrams,
      local,
    });
    store.inbox.onRelease = () => this.#dispatcher.wake();
    void store.place.lost?.then((reason) => this.closeBecause(reason));
  }

  /** This peer's id. */
  get peerId(): PeerId {
    return this.#store.own.identity.peerId;
  }

  /** Why the node has closed unasked; else why the latest attempt to reach a server failed. */
  get lastFailure(): Error | undefined {
    return this.#failure ?? this.#servers.lastFailure;
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
    this.#servers.openPaths();
    for (const { peerId } of pairings) this.#servers.keep(peerId);
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
        context: this.#context,
        urls: this.#options.serverUrl === undefined ? [] : [this.#options.serverUrl],
        local: this.#local,
        signal: AbortSignal.any(limits),
      }));
    this.#servers.keep(server);
    const paths = this.#servers.openPaths();
    if (paths) this.#datagrams?.learn(paths, hints(aim, "turn"));
    await this.#servers.ready(PUBLISH_TIMEOUT, server);
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
    const isTold = await this.#servers.tellUnpaired(server);
    await this.#servers.forget(server);
    return isTold;
  }

  /** The paired servers. */
  pairings(): PairedPeer[] {
    return this.#store.book.list().map(({ peerId, mechanism, pairedAt }) => ({
      peerId,
      mechanism,
      pairedAt,
      connected: this.#servers.isUp(peerId),
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

  /**
   * Lets a peer write to this one that takes messages of its contacts only. The next broadcast
   * without `to` is for it, too, whether or not a server has told of it yet.
   */
  async addContact(peer: PeerId | string): Promise<void> {
    const peerId = PeerId.from(peer);
    if (this.#store.contacts.has(peerId)) return;
    await this.#store.contacts.add(peerId);
    this.#hub.roster.expect(peerId);
  }

  /** Forgets a contact. */
  async removeContact(peer: PeerId | string): Promise<void> {
    const peerId = PeerId.from(peer);
    await this.#store.contacts.remove(peerId);
    this.#hub.roster.unexpect(peerId);
  }

  /** How this machine is connected, and what carries its links; asks relays, for some seconds. */
  async networkInfo(): Promise<NetworkInfo> {
    this.#requireOpen();
    await this.#servers.learnRelays();
    const { kind, publicAddress } = await this.#servers.openPaths()?.probeNat() ??
      { kind: "unknown" };
    return {
      natKind: kind,
      ...(publicAddress !== undefined && { publicAddress }),
      links: this.#servers.ways(),
    };
  }

  /**
   * Waits for a server through which `peerId` can be written to.
   *
   * @throws {CairnError} `not-paired`, or `unreachable` after `timeout` milliseconds.
   */
  async connect(peer: PeerId | string, timeout = 30_000): Promise<PeerSession> {
    const peerId = PeerId.from(peer);
    this.#requirePairing();
    await this.#servers.ready(timeout);
    return {
      peerId,
      send: (channel, data) => this.send(peerId, channel, data),
    };
  }

  /**
   * Durably queues a message, text as UTF-8, and offers it to a server, now or as soon as one is
   * reached. Whoever is written to becomes a contact, unless `options` say otherwise.
   *
   * @throws {CairnError} `too-large`, `not-paired`, `refused` when too many wait.
   */
  async send(
    peer: PeerId | string,
    channel: string,
    data: Uint8Array | string,
    { addsContact = true }: SendOptions = {},
  ): Promise<SentMessage> {
    const recipient = PeerId.from(peer);
    const bytes = bytesOf(data);
    this.#requireSendable([recipient], channel, bytes);
    const queued = this.#store.outbox.enqueue(recipient, channel, bytes);
    const [entry] = await Promise.all([queued, ...(addsContact ? [this.#pin(recipient)] : [])]);
    return this.#sendOff(entry);
  }

  /**
   * Sends a message that is kept nowhere, for a peer that is there: over a link to that peer itself,
   * end to end encrypted as every link is. It has no place in the order of other messages, and at
   * most 4 MB await their answers; further ones wait for their turn. Resolves to true when the
   * handlers there have dealt with it, however long they take; to false when there is no such link, nobody there takes it,
   * or the link ended on the way, in which case it may have come all the same.
   *
   * @throws {CairnError} `too-large`, `not-paired`.
   */
  async sendTransient(
    peer: PeerId | string,
    channel: string,
    data: Uint8Array | string,
  ): Promise<boolean> {
    const recipient = PeerId.from(peer);
    const bytes = bytesOf(data);
    this.#requireSendable([recipient], channel, bytes);
    return await this.#hub.sendTransient(recipient, channel, bytes);
  }

  /**
   * Durably queues one message for several peers, for all of them or none. It has the same id for
   * each, and reaches each as by {@linkcode Node.send}; a server stores it once for all that it
   * keeps it for. Without `to` it is for every contact, but those that every server says it does not
   * know: strangers of the same server get nothing. A contact that was just added is not left out
   * before some server has told of it: `accepted` rejects if none knows it. Nor does one for whom too
   * many wait keep it from the others: it gets nothing, and its `accepted` rejects. Returns one
   * entry per recipient, in their order; none when there is nobody to write to.
   *
   * @throws {CairnError} `too-large`, `not-paired`, `refused` when too many wait for one that is
   * named in `to`, or else for every contact.
   */
  async broadcast(
    channel: string,
    data: Uint8Array | string,
    options: BroadcastOptions = {},
  ): Promise<SentCopy[]> {
    const { to = this.#audience(), addsContact = true } = options;
    const bytes = bytesOf(data);
    const recipients = [...new Map(to.map((peer) => [`${peer}`, PeerId.from(peer)])).values()];
    this.#requireSendable(recipients, channel, bytes);
    if (recipients.length === 0) return [];
    const queued = this.#store.outbox.enqueueForAll(recipients, channel, bytes, {
      skipsFull: options.to === undefined,
    });
    const pinned = addsContact ? recipients.map((each) => this.#pin(each)) : [];
    const [entries] = await Promise.all([queued, ...pinned]);
    const copies = new Map(entries.map((entry) => [`${entry.recipient}`, this.#sendOff(entry)]));
    const id = formatUuid(entries[0]!.id);
    return recipients.map((to) => {
      const copy = copies.get(`${to}`) ?? { id, accepted: refusal(fullError(to)) };
      return { to, ...copy };
    });
  }

  /**
   * Ends links, timers and storage; messages not yet accepted wait for the next start. Called by a
   * message handler, it resolves before that handler's message is acknowledged, and the storage is
   * closed after it.
   */
  async close(): Promise<void> {
    this.#closed ??= this.#close(new CairnError("closed", "The node was closed"));
    await (this.#dispatcher.isHandling ? this.#ended.promise : this.#closed);
  }

  /**
   * Looks at once whether links are still good, and tries again what waits to be. `isLost` says that
   * connections of before are gone. @ignore
   */
  protected networkChanged(isLost: boolean): void {
    this.#signaling.networkChanged(isLost);
    this.#servers.networkChanged();
  }

  /** Aborted, with the reason, when the node closes. @ignore */
  protected get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Closes unasked: `closed` tells why, and so does whatever is called later. @ignore */
  protected closeBecause(error: CairnError): void {
    if (this.#closing.signal.aborted) return;
    this.#failure = error;
    this.#closed = this.#close(error);
    // Links, timers and storage are gone whatever else failed.
    this.#closed.catch((error) => log.debug("The node closed with an error: {error}", { error }));
    this.#listeners.emit("closed", { error });
  }

  async #close(reason: CairnError): Promise<void> {
    this.#closing.abort(reason);
    clearInterval(this.#sweeper);
    await this.#hub.close();
    await this.#servers.close();
    await this.#signaling.close();
    this.#sent.abandon(
      this.#failure ??
        new CairnError("closed", "The node was closed; the message waits in its outbox"),
    );
    this.#ended.resolve();
    await this.#dispatcher.close();
    await this.#store.close();
  }

  #requireSendable(recipients: readonly PeerId[], channel: string, data: Uint8Array): void {
    if (data.length > MAX_DATA_LENGTH) {
      throw new CairnError(
        "too-large",
        `The message has ${data.length} bytes; at most ${MAX_DATA_LENGTH} can be sent at once`,
      );
    }
    if (utf8(channel).length > MAX_CHANNEL_LENGTH) {
      throw new CairnError("too-large", `A channel name has at most ${MAX_CHANNEL_LENGTH} bytes`);
    }
    if (recipients.length > MAX_RECIPIENTS) {
      throw new CairnError("too-large", `A broadcast has at most ${MAX_RECIPIENTS} recipients`);
    }
    if (recipients.some((recipient) => recipient.equals(this.peerId))) {
      throw new CairnError("refused", "A peer cannot send to itself");
    }
    this.#requirePairing();
  }

  #sendOff(entry: OutboxEntry): SentMessage {
    const sent = this.#sent.track(entry);
    this.#servers.poke(entry.recipient);
    this.#hub.want(entry.recipient);
    return sent;
  }

  /** The contacts, but those that every server says it does not know. */
  #audience(): PeerId[] {
    const servers = this.#store.book.list().map(({ peerId }) => peerId);
    return this.contacts().filter((peer) => !this.#hub.roster.isGone(peer, servers));
  }

  /** Whoever is written to is known from here on. */
  async #pin(recipient: PeerId): Promise<void> {
    try {
      await this.addContact(recipient);
    } catch (error) {
      log.warn("A contact could not be noted: {error}", { error });
    }
  }

  async #sweep(): Promise<void> {
    try {
      await this.#store.inbox.sweep();
    } catch (error) {
      log.warn("Old message ids could not be forgotten: {error}", { error });
    }
  }

  #requireOpen(): void {
    this.#closing.signal.throwIfAborted();
  }

  #requirePairing(): void {
    this.#requireOpen();
    if (this.#store.book.list().length > 0) return;
    throw new CairnError(
      "not-paired",
      "This peer is not paired with any server yet; pair it first",
    );
  }
}

/** @throws {TypeError} for what pages, which nobody checks the types of, might send otherwise. */
function bytesOf(data: Uint8Array | string): Uint8Array {
  if (typeof data === "string") return utf8(data);
  if (data instanceof Uint8Array) return data;
  throw new TypeError("A message is a Uint8Array or a string");
}

/** A promise that rejects, whether or not anybody looks at it. */
function refusal(error: CairnError): Promise<void> {
  const accepted = Promise.reject<void>(error);
  accepted.catch(() => {});
  return accepted;
}
