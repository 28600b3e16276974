import { getLogger } from "@logtape/logtape";
import type { AddressPort } from "../../base/address.ts";
import { toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { CandidateText } from "../../protocol/ice/candidates.ts";
import { requestedFragment } from "../../protocol/ice/connectivity_check.ts";
import type { PathParameters } from "../../protocol/rendezvous/sealed_message.ts";
import type { StunMessage } from "../../protocol/stun/message.ts";
import type { DatagramSockets } from "../relay/datagram_sockets.ts";
import { type NatReport, probeNat } from "./nat_probe.ts";
import { NodeWays, type NodeWaysOptions } from "./node_ways.ts";
import { type PathListener, PathSession, type Way } from "./path_session.ts";
import { openPathSockets } from "./path_sockets.ts";
import { makeQuicCertificate, type QuicCertificate } from "./quic_certificate.ts";
import { QuicClient } from "./quic_client.ts";
import { QuicServer } from "./quic_server.ts";
import type { QuicSocket } from "./quic_socket.ts";
import type { RelayServer } from "./relay_keeper.ts";
import { RepeatedNews } from "./repeated_news.ts";

const log = getLogger(["cairn", "path"]);

const MAX_SESSIONS = 256;
const MAX_SESSIONS_PER_PEER = 4;
/** Milliseconds for which allocations are kept after the last session. */
const RELAY_LINGER = 30_000;

/** A search for ways to one peer. */
export interface OutgoingPath {
  /** What the peer must be told. */
  readonly parameters: PathParameters;
  /** Takes the peer's answer, or further addresses of it. */
  learn(parameters: PathParameters, candidates: readonly CandidateText[]): void;
  /** Ends the search and what came of it. */
  close(): void;
}

export interface UdpPathsOptions extends Omit<NodeWaysOptions, "sockets"> {
  /** Owned by the paths; default {@linkcode openPathSockets}. */
  readonly sockets?: DatagramSockets;
}

interface Session {
  /** The peer that offered; `undefined` where this side did. */
  readonly peer: string | undefined;
  readonly path: PathSession;
  readonly listener: PathListener;
  /** Of the peer, where this side dials. */
  certificate: Uint8Array | undefined;
  isWaitingToDial: boolean;
  socket: QuicSocket | undefined;
  /** The peer's connections are not expected any more. */
  callOff: () => void;
}

/**
 * Ways of datagrams between this node and its peers, QUIC on the best of them, and a carrier for a
 * link on that.
 */
export class UdpPaths {
  readonly #options: UdpPathsOptions;
  readonly #sockets: DatagramSockets;
  readonly #ways: NodeWays;
  readonly #news = new RepeatedNews((isRepeat) => this.#tell(isRepeat));
  readonly #sessions = new Map<string, Session>();
  readonly #client = new QuicClient();
  readonly #onNetworkChange = new Set<(isLost: boolean) => void>();
  #server: Promise<{ quic: QuicServer; certificate: QuicCertificate }> | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #isOpen = true;

  constructor(options: UdpPathsOptions) {
    this.#options = options;
    this.#sockets = options.sockets ?? openPathSockets();
    const paths = () => [...this.#sessions.values()].map(({ path }) => path);
    this.#ways = new NodeWays({ ...options, sockets: this.#sockets }, {
      onStun: (message, source, way) => this.#receive(message, source, way),
      onWay: (way) => paths().forEach((path) => path.addWay(way)),
      onWayGone: (id) => paths().forEach((path) => path.removeWay(id)),
      onNetworkChange: (isLost) => {
        paths().forEach((path) => path.recheck());
        for (const hear of this.#onNetworkChange) hear(isLost);
      },
      onCandidates: () => this.#news.begin(),
    });
  }

  /** What is known by now of the addresses at which this node may be reached. */
  get candidates(): CandidateText[] {
    return this.#ways.candidates;
  }

  /** Whether there is a relay that may be of use. */
  get knowsRelay(): boolean {
    return this.#ways.relays.length > 0;
  }

  /**
   * Calls `hear` whenever the machine's own addresses have changed, with whether one is gone, until
   * it is called off.
   */
  onNetworkChange(hear: (isLost: boolean) => void): () => void {
    this.#onNetworkChange.add(hear);
    return () => this.#onNetworkChange.delete(hear);
  }

  /** What the NAT in front of this machine is like; takes some seconds. */
  probeNat(): Promise<NatReport> {
    const { host, interfaces } = this.#options;
    return probeNat({
      relays: this.#ways.relays,
      host,
      sockets: this.#sockets,
      interfaces: interfaces(),
    });
  }

  /** Why a search may have come to nothing, in words. */
  describeFailure(): string {
    const relays = this.#ways.failures;
    const none = this.#ways.relays.length > 0 ? "" : "; there is no relay to go through";
    return relays.length === 0
      ? `no datagram of the peer came back${none}`
      : `no datagram of the peer came back, and no relay is of use (${relays.join("; ")})`;
  }

  /** Uses a further relay, such as one that a peer gave access to. */
  addRelay(server: RelayServer): void {
    this.#ways.addRelay(server);
  }

  /** Begins to look for ways to a peer. @throws {CairnError} `refused` when too many are looked for. */
  offer(listener: PathListener): OutgoingPath {
    const session = this.#options.host.random(16);
    const open = this.#open(session, undefined, this.#client.port, listener);
    if (!open) throw new CairnError("refused", "Too many paths are looked for at once");
    return {
      parameters: { session, password: open.path.password },
      learn: ({ password, certificate }, candidates) => {
        open.certificate ??= certificate;
        open.path.learn(password, candidates);
        if (open.isWaitingToDial) void this.#dial(open);
      },
      close: () => this.#close(open),
    };
  }

  /**
   * Answers what `peer` has offered with this node's parameters. An offer that repeats a session
   * belongs to it. `undefined` when there are too many.
   */
  async answer(
    peer: string,
    { session, password }: PathParameters,
    candidates: readonly CandidateText[],
    listener: PathListener,
  ): Promise<PathParameters | undefined> {
    const { quic, certificate } = await this.prepare();
    const open = this.#sessions.get(toHex(session)) ??
      this.#accept(session, peer, quic, listener);
    if (open?.peer !== peer) return undefined;
    open.path.learn(password, candidates);
    return { session, password: open.path.password, certificate: certificate.der };
  }

  /** Takes further addresses of a peer whose offer was answered. */
  async learn(
    peer: string,
    { session, password }: PathParameters,
    candidates: readonly CandidateText[],
  ): Promise<void> {
    // The offer itself may still wait for that.
    await this.#server;
    const open = this.#sessions.get(toHex(session));
    if (open?.peer === peer) open.path.learn(password, candidates);
  }

  /** Makes ready to answer, which takes a while the first time. */
  prepare(): Promise<{ quic: QuicServer; certificate: QuicCertificate }> {
    return this.#server ??= makeQuicCertificate(this.#options.host).then((certificate) => ({
      quic: new QuicServer(certificate),
      certificate,
    }));
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    clearTimeout(this.#linger);
    this.#news.end();
    for (const open of [...this.#sessions.values()]) this.#close(open);
    this.#client.close();
    await (await this.#server)?.quic.close();
    await this.#ways.close();
    await this.#sockets[Symbol.asyncDispose]();
  }

  #accept(session: Uint8Array, peer: string, quic: QuicServer, listener: PathListener) {
    const theirs = [...this.#sessions.values()].filter((other) => other.peer === peer);
    // Searches that came to nothing make room for the newest.
    if (theirs.length >= MAX_SESSIONS_PER_PEER && theirs[0]) this.#close(theirs[0]);
    const open = this.#open(session, peer, quic.port, listener);
    if (open) open.callOff = quic.expect(open.path.shimPort, (socket) => this.#join(open, socket));
    return open;
  }

  #open(
    session: Uint8Array,
    peer: string | undefined,
    quicPort: number,
    listener: PathListener,
  ): Session | undefined {
    if (!this.#isOpen || this.#sessions.size >= MAX_SESSIONS) return undefined;
    const path = new PathSession({
      role: peer === undefined ? "controlling" : "controlled",
      session,
      host: this.#options.host,
      sockets: this.#sockets,
      quicPort,
      onOpen: () => void this.#dial(open),
      onSteady: (isSteady) => listener.onSteady?.(isSteady),
      onLost: () => this.#close(open),
    });
    const open: Session = {
      peer,
      path,
      listener,
      certificate: undefined,
      isWaitingToDial: false,
      socket: undefined,
      callOff: () => {},
    };
    this.#sessions.set(toHex(session), open);
    clearTimeout(this.#linger);
    for (const way of this.#ways) path.addWay(way);
    this.#ways.wake();
    return open;
  }

  async #dial(open: Session): Promise<void> {
    if (open.peer !== undefined) return;
    open.isWaitingToDial = !open.certificate;
    if (!open.certificate) return;
    try {
      const socket = await this.#client.connect(open.path.shimPort, open.certificate);
      this.#join(open, socket);
    } catch (error) {
      log.debug("No QUIC connection came about: {error}", { error });
      this.#close(open);
    }
  }

  #join(open: Session, socket: QuicSocket): void {
    if (this.#sessions.get(toHex(open.path.session)) !== open) return socket.destroy();
    // A peer may connect again on the same way; the newest connection counts.
    open.socket?.destroy();
    open.socket = socket;
    void socket.ended.then(() => {
      if (open.socket === socket) this.#close(open);
    });
    open.listener.onSocket(socket, open.path);
  }

  #close(open: Session): void {
    const key = toHex(open.path.session);
    if (this.#sessions.get(key) !== open) return;
    this.#sessions.delete(key);
    open.callOff();
    open.socket?.destroy();
    if (this.#sessions.size === 0 && this.#isOpen) {
      clearTimeout(this.#linger);
      this.#linger = setTimeout(() => void this.#ways.rest(), RELAY_LINGER);
    }
    open.path.close();
    open.listener.onEnd?.();
  }

  /** Says where this node may be reached; again only to those that no direct way leads to yet. */
  #tell(isRepeat: boolean): void {
    for (const { path, listener } of this.#sessions.values()) {
      if (isRepeat && path.isDirect) continue;
      if (isRepeat) path.retry();
      listener.onCandidates(this.candidates);
    }
  }

  #receive(message: StunMessage, source: AddressPort, way: Way): void {
    const fragment = requestedFragment(message);
    for (const { path } of this.#sessions.values()) {
      // Answers come from addresses that were asked, and name nobody.
      if (fragment === undefined || path.fragment === fragment) path.receive(message, way, source);
    }
  }
}
