import { getLogger } from "@logtape/logtape";
import { type AddressPort, formatAddressPort } from "../../base/address.ts";
import type { Host } from "../../base/host.ts";
import type { LocalBase } from "../../protocol/ice/candidate_pair.ts";
import { type CandidateText, parseCandidate } from "../../protocol/ice/candidates.ts";
import { type CheckRole, sessionCredentials } from "../../protocol/ice/connectivity_check.ts";
import { IceAgent, type IceEffect } from "../../protocol/ice/ice_agent.ts";
import { decodeStunMessage, type StunMessage } from "../../protocol/stun/message.ts";
import type { DatagramSockets } from "../relay/datagram_sockets.ts";
import type { FrameSocket } from "../web_socket.ts";
import { QuicShim } from "./quic_shim.ts";
import { type DatagramHandler, HEADROOM, looksLikeStun, TAILROOM } from "./wire_socket.ts";

const log = getLogger(["cairn", "path"]);

/**
 * Sends the datagram at `offset`; the bytes around it may be written, and all of them again once it
 * resolves.
 */
export type DatagramSender = (
  buffer: Uint8Array,
  offset: number,
  length: number,
) => Promise<unknown> | void;

/** Milliseconds of packets out and none in after which the pair in use is checked. */
const DOUBT_AFTER = 1_000;

/** A way out of this node, as sessions use it. */
export interface Way {
  readonly base: LocalBase;
  /** What sends to this address. */
  toward(to: AddressPort): DatagramSender;
  /** Hands over what comes from there, from now on. Returns what ends it. */
  route(source: AddressPort, handler: DatagramHandler): () => void;
  /** Says that much will go to this address. */
  prefer(to: AddressPort): void;
  /** Finds out whether the way is still there. */
  recheck(): void;
}

export interface PathSessionOptions {
  readonly role: CheckRole;
  /** 16 bytes. */
  readonly session: Uint8Array;
  readonly host: Host;
  readonly sockets: DatagramSockets;
  /** The port of loopback on which this node's QUIC endpoint is. */
  readonly quicPort: number;
  /** The first pair was found. */
  readonly onOpen: () => void;
  /** Whether the pair in use answers. */
  readonly onSteady: (isSteady: boolean) => void;
  /** No pair was found, or all fell silent; said once. */
  readonly onLost: () => void;
}

/** Hears what becomes of one search. */
export interface PathListener {
  /** All addresses of this node, after more of them are known. */
  readonly onCandidates: (candidates: readonly CandidateText[]) => void;
  readonly onSocket: (socket: FrameSocket, path: PathSession) => void;
  /** Whether the way in use answers. */
  readonly onSteady?: (isSteady: boolean) => void;
  /** The search has failed, or its way is gone for good. */
  readonly onEnd?: () => void;
}

/** The ways between this node and one peer: checks on all of them, QUIC packets on the best. */
export class PathSession {
  readonly session: Uint8Array;
  /** 16 bytes, this side's. */
  readonly password: Uint8Array;
  readonly fragment: string;
  readonly #options: PathSessionOptions;
  readonly #agent: IceAgent;
  readonly #shim: QuicShim;
  readonly #ways = new Map<string, Way>();
  readonly #routes = new Map<string, () => void>();
  #selected: { readonly way: Way; readonly send: DatagramSender } | undefined;
  /** To where the peer's packets come from, until a pair is selected: they may be faster than that. */
  #answer: { readonly way: Way; readonly send: DatagramSender } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasOpened = false;
  /** Since when packets have gone out and none have come in. */
  #unansweredSince: number | undefined;
  #isSteady = true;
  #isOpen = true;

  constructor(options: PathSessionOptions) {
    const { role, session, host, sockets, quicPort } = options;
    this.#options = options;
    this.session = session;
    this.password = host.random(16);
    const local = sessionCredentials(session, role, this.password);
    this.fragment = local.fragment;
    const random = (length: number) => host.random(length);
    this.#agent = new IceAgent({ role, local, random }, host.monotonic());
    this.#shim = new QuicShim(quicPort, host, sockets, (buffer, offset, length) => {
      this.#expectAnswer();
      return (this.#selected ?? this.#answer)?.send(buffer, offset, length);
    });
    this.#settle();
  }

  /** The port of loopback that stands for the peer. */
  get shimPort(): number {
    return this.#shim.port;
  }

  /** The pair in use, in words. */
  get description(): string | undefined {
    const pair = this.#agent.selected;
    if (!pair) return undefined;
    const through = pair.base.type === "relay" ? ` through ${pair.base.id}` : "";
    return `${pair.isRelayed ? "relayed" : "direct"} ${formatAddressPort(pair.remote)}${through}`;
  }

  get isRelayed(): boolean {
    return this.#agent.selected?.isRelayed ?? false;
  }

  /** Whether a pair is in use that needs no relay, and answers. */
  get isDirect(): boolean {
    return this.#isSteady && this.#agent.selected?.isRelayed === false;
  }

  addWay(way: Way): void {
    this.#ways.set(way.base.id, way);
    this.#agent.addBase(way.base);
    this.#settle();
  }

  removeWay(id: string): void {
    this.#ways.delete(id);
    for (const [key, end] of this.#routes) {
      if (!key.startsWith(`${id} `)) continue;
      end();
      this.#routes.delete(key);
    }
    if (this.#selected?.way.base.id === id) this.#selected = undefined;
    if (this.#answer?.way.base.id === id) this.#answer = undefined;
    this.#agent.removeBase(id, this.#options.host.monotonic());
    this.#settle();
  }

  /** Takes what the peer said in a sealed message; addresses add up. */
  learn(password: Uint8Array, candidates: readonly CandidateText[]): void {
    const { role, session } = this.#options;
    const other = role === "controlling" ? "controlled" : "controlling";
    this.#agent.setRemoteCredentials(sessionCredentials(session, other, password));
    for (const text of candidates) {
      const candidate = parseCandidate(text);
      if (candidate) this.#agent.addRemote(candidate);
    }
    this.retry();
  }

  /** Takes a STUN message that may be the peer's. */
  receive(message: StunMessage, way: Way, source: AddressPort): void {
    if (!this.#isOpen) return;
    const now = this.#options.host.monotonic();
    if (this.#agent.receive(message, way.base.id, source, now)) this.#route(way, source);
    this.#settle();
  }

  /** The network has changed. */
  recheck(): void {
    this.#agent.recheck(this.#options.host.monotonic());
    this.#settle();
  }

  /** A hole in a NAT takes both sides at once: what came to nothing may not, while the peer tries. */
  retry(): void {
    this.#agent.recheck(this.#options.host.monotonic(), "failed");
    this.#settle();
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    for (const end of this.#routes.values()) end();
    this.#routes.clear();
    this.#shim.close();
  }

  /** From an address that has proved to be the peer's, its packets are let through. */
  #route(way: Way, source: AddressPort): void {
    const key = `${way.base.id} ${formatAddressPort(source)}`;
    if (this.#routes.has(key)) return;
    const from = { address: source.address.slice(), port: source.port };
    const outlet = { way, send: way.toward(from) };
    const end = way.route(from, (buffer, offset, length) => {
      if (!looksLikeStun(buffer, offset, length)) {
        this.#unansweredSince = undefined;
        if (!this.#selected) this.#answer = outlet;
        return this.#shim.deliver(buffer, offset, length);
      }
      const message = decodeStunMessage(buffer.subarray(offset, offset + length));
      if (message) this.receive(message, way, from);
    });
    this.#routes.set(key, end);
  }

  /** QUIC is silent where it has nothing to say: only what goes out tells that it waits. */
  #expectAnswer(): void {
    const now = this.#options.host.monotonic();
    this.#unansweredSince ??= now;
    if (now - this.#unansweredSince < DOUBT_AFTER) return;
    this.#unansweredSince = now;
    this.#agent.doubt(now);
    this.#settle();
  }

  #settle(): void {
    if (!this.#isOpen) return;
    for (const effect of this.#agent.takeEffects()) this.#perform(effect);
    clearTimeout(this.#timer);
    const wait = this.#agent.nextDeadline() - this.#options.host.monotonic();
    if (!this.#isOpen || wait === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#agent.advance(this.#options.host.monotonic());
      this.#settle();
    }, Math.max(0, wait));
  }

  #perform(effect: IceEffect): void {
    switch (effect.kind) {
      case "send": {
        const { base, to, bytes } = effect;
        const buffer = new Uint8Array(HEADROOM + bytes.length + TAILROOM);
        buffer.set(bytes, HEADROOM);
        void this.#ways.get(base.id)?.toward(to)(buffer, HEADROOM, bytes.length);
        return;
      }
      case "selected": {
        const { base, remote } = effect.pair;
        const way = this.#ways.get(base.id);
        if (!way) return;
        const isFirst = !this.#hasOpened;
        this.#hasOpened = true;
        this.#selected = { way, send: way.toward(remote) };
        this.#answer = undefined;
        way.prefer(remote);
        log.debug("A path is {path}", { path: this.description });
        if (isFirst) this.#options.onOpen();
        return;
      }
      case "steady":
        this.#isSteady = effect.isSteady;
        if (!effect.isSteady) this.#selected?.way.recheck();
        return this.#options.onSteady(effect.isSteady);
      case "lost":
        return this.#options.onLost();
    }
  }
}
