import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { safetyNumber } from "../../protocol/crypto/safety_number.ts";
import type { LinkContext } from "../link_connection.ts";
import type { LocalSearch } from "../mdns/local_look.ts";
import { Dispatcher, type HandlerScope } from "./dispatcher.ts";
import { HubClient } from "./hub_client.ts";
import { InboxSweep } from "./inbox_sweep.ts";
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
import { Outgoing } from "./outgoing.ts";
import { Pairings } from "./pairings.ts";
import type { PairingWay } from "./pairing_way.ts";
import { type DatagramWays, ServerLinks } from "./server_links.ts";
import { TRANSIENT } from "./transient_exchange.ts";

const log = getLogger(["cairn", "peer"]);

const HEARTBEAT = 30_000;

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
  readonly #store: NodeStore;
  readonly #listeners = new Listeners<NodeEvents>();
  readonly #signaling: KnownSignaling;
  readonly #closing = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #closed: Promise<void> | undefined;
  #failure: CairnError | undefined;
  #isStarted = false;
  readonly #dispatcher: Dispatcher;
  readonly #sweep: InboxSweep;
  readonly #hub: HubClient;
  readonly #servers: ServerLinks;
  readonly #pairings: Pairings;
  readonly #outgoing: Outgoing;

  /** @ignore */
  protected constructor(options: PeerNodeOptions, platform: PeerPlatform) {
    const { store, host, handlers } = platform;
    const listeners = this.#listeners;
    const signaling = new KnownSignaling(host);
    this.#store = store;
    this.#signaling = signaling;
    const context: LinkContext = {
      identity: store.own.identity,
      keys: store.linkKeys,
      capabilities: options.receive === false ? [] : ["receive", "roster", "relay", TRANSIENT],
      host,
      heartbeat: HEARTBEAT,
    };
    this.#sweep = new InboxSweep(store.inbox, host);
    this.#dispatcher = new Dispatcher(store.inbox, listeners, handlers, () => {
      this.#servers.roomMade();
      this.#hub.roomMade();
    });
    if (options.contactsOnly) store.inbox.accepts = (sender) => store.contacts.has(sender);
    this.#hub = new HubClient({
      store,
      context,
      host,
      onRoster: (member) => listeners.emit("roster", member),
      onPath: (peerId, path) => {
        this.#servers.poke(peerId);
        listeners.emit("path", { peerId, path });
      },
      onTransient: (message) => listeners.take("transient", message),
    });
    const closing = this.#closing.signal;
    const parts = { ...platform, options, context, signaling, hub: this.#hub, listeners, closing };
    this.#servers = new ServerLinks(parts);
    const servers = this.#servers;
    this.#pairings = new Pairings({ ...parts, servers });
    this.#outgoing = new Outgoing({
      ...parts,
      servers,
      addContact: (peer) => this.addContact(peer),
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
    if (this.#isStarted) return Promise.resolve();
    this.#servers.start();
    this.#sweep.start();
    this.#isStarted = true;
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
    return await this.#pairings.pair(way, options);
  }

  /**
   * Ends a pairing: tells the server if it can be reached soon, and forgets its keys. False when it
   * could not be told.
   */
  async unpair(peer: PeerId | string): Promise<boolean> {
    return await this.#pairings.unpair(PeerId.from(peer));
  }

  /** The paired servers. */
  pairings(): PairedPeer[] {
    return this.#pairings.list();
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
    return await this.#servers.networkInfo();
  }

  /**
   * Waits for a server through which `peerId` can be written to.
   *
   * @throws {CairnError} `not-paired`, or `unreachable` after `timeout` milliseconds.
   */
  async connect(peer: PeerId | string, timeout = 30_000): Promise<PeerSession> {
    const peerId = PeerId.from(peer);
    this.#servers.requirePaired();
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
    options: SendOptions = {},
  ): Promise<SentMessage> {
    return await this.#outgoing.send(PeerId.from(peer), channel, data, options);
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
    return await this.#outgoing.sendTransient(PeerId.from(peer), channel, data);
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
    return await this.#outgoing.broadcast(channel, data, options);
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
    this.#sweep.close();
    await this.#hub.close();
    await this.#servers.close();
    await this.#signaling.close();
    this.#outgoing.close(
      this.#failure ??
        new CairnError("closed", "The node was closed; the message waits in its outbox"),
    );
    this.#ended.resolve();
    await this.#dispatcher.close();
    await this.#store.close();
  }

  #requireOpen(): void {
    this.#closing.signal.throwIfAborted();
  }
}
