import { getLogger } from "@logtape/logtape";
import { type AddressPort, formatAddressPort, formatIp } from "../../base/address.ts";
import type { Host } from "../../base/host.ts";
import { CHANNEL_HEADER_LENGTH } from "../../protocol/stun/channel_data.ts";
import type { TurnClientEffect } from "../../protocol/turn/client_effects.ts";
import { TurnClient } from "../../protocol/turn/turn_client.ts";
import type { TurnCarrier } from "../turn_carrier.ts";
import type { DatagramSender } from "./path_session.ts";

const log = getLogger(["cairn", "path"]);

/** Milliseconds after which the allocation is renewed: NATs forget its way much sooner than it. */
const KEEP_ALIVE = 20_000;
/** Milliseconds for anything to come after that was asked for. */
const ANSWER_TIMEOUT = 8_000;
/** Datagrams that wait for one address to be permitted. */
const MAX_WAITING = 4;
const MAX_PERMITTED = 256;
/**
 * Answers about a peer that may mean that the allocation is gone: RFC 8656 section 5 has 437 for
 * that, coturn says 400.
 */
const ALLOCATION_DOUBTFUL: ReadonlySet<unknown> = new Set([400, 437]);

export interface AllocationEvents {
  /** This node's own address as the server sees it. */
  readonly onMapped: (address: AddressPort) => void;
  readonly onAllocated: (relayed: AddressPort) => void;
  readonly onDatagram: (
    peer: AddressPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ) => Promise<unknown> | void;
  /** There is no allocation any more, or none came about; said once. */
  readonly onEnd: (reason: string) => void;
}

/** One allocation at a TURN server, kept alive until it ends. Owns its carrier. */
export class RelayAllocation {
  readonly #carrier: TurnCarrier;
  readonly #client: TurnClient;
  readonly #host: Host;
  readonly #events: AllocationEvents;
  readonly #channels = new Map<string, number>();
  /** Addresses that may send, and datagrams to those that may not yet. */
  readonly #permitted = new Map<string, Uint8Array[] | "granted">();
  readonly #reading: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewAt = Infinity;
  #answerBy: number;
  #hasEnded = false;

  constructor(options: {
    readonly carrier: TurnCarrier;
    readonly transport: "datagram" | "stream";
    readonly username: string;
    readonly password: string;
    readonly host: Host;
    readonly events: AllocationEvents;
  }) {
    const { carrier, transport, username, password, host, events } = options;
    this.#carrier = carrier;
    this.#host = host;
    this.#events = events;
    this.#client = new TurnClient({
      username,
      password,
      transport,
      random: (length) => host.random(length),
    });
    const now = host.monotonic();
    this.#answerBy = now + ANSWER_TIMEOUT;
    this.#reading = this.#read();
    this.#client.bind(now);
    this.#client.allocate(now);
    this.#settle();
  }

  /**
   * What sends to a peer; the bytes around a datagram may be written. Until the server has permitted
   * the peer's address, the first few wait.
   */
  toward(to: AddressPort): DatagramSender {
    const key = formatAddressPort(to);
    return (buffer, offset, length) => {
      const channel = this.#channels.get(key);
      if (channel !== undefined) {
        const total = this.#client.wrap(channel, buffer, offset, length);
        return this.#carrier.forward(buffer, offset - CHANNEL_HEADER_LENGTH, total);
      }
      const datagram = this.#client.indication(to, buffer.subarray(offset, offset + length));
      const waiting = this.#permission(to);
      if (waiting === "granted") return this.#transmit(datagram);
      if (waiting && waiting.length < MAX_WAITING) waiting.push(datagram);
      return Promise.resolve();
    };
  }

  /** Makes datagrams to and from this peer cheaper. */
  bindChannel(to: AddressPort): void {
    if (this.#hasEnded || this.#permission(to) === undefined) return;
    try {
      this.#client.bindChannel(to, this.#host.monotonic());
    } catch (error) {
      // Without a channel indications do the same.
      if (!(error instanceof RangeError)) throw error;
    }
    this.#settle();
  }

  /** Lets go of what was asked for the sake of this address. */
  forget({ address }: AddressPort): void {
    if (!this.#permitted.delete(formatIp(address))) return;
    this.#client.forget(address);
    for (const key of this.#channels.keys()) {
      if (key.startsWith(formatAddressPort({ address, port: 0 }).slice(0, -1))) {
        this.#channels.delete(key);
      }
    }
  }

  /** Finds out whether the allocation is still there. */
  recheck(): void {
    if (this.#hasEnded || this.#renewAt === Infinity) return;
    this.#renewAt = this.#host.monotonic();
    this.#settle();
  }

  /** Gives the allocation back, without waiting for the answer. */
  async close(): Promise<void> {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      this.#client.release(this.#host.monotonic());
      for (const effect of this.#client.takeEffects()) {
        if (effect.kind === "send") await this.#transmit(effect.bytes);
      }
    }
    clearTimeout(this.#timer);
    this.#carrier.close();
    await this.#reading;
  }

  /** Datagrams that wait for this address to be permitted; `undefined` where there is no room. */
  #permission({ address }: AddressPort): Uint8Array[] | "granted" | undefined {
    const key = formatIp(address);
    const known = this.#permitted.get(key);
    if (known || this.#hasEnded || this.#permitted.size >= MAX_PERMITTED) return known;
    const waiting: Uint8Array[] = [];
    try {
      this.#client.permit(address, this.#host.monotonic());
    } catch {
      // There is no allocation yet.
      return undefined;
    }
    this.#permitted.set(key, waiting);
    this.#settle();
    return waiting;
  }

  async #transmit(bytes: Uint8Array): Promise<void> {
    try {
      await this.#carrier.send(bytes);
    } catch {
      this.#end("the connection to the relay broke");
    }
  }

  /** Does what the client wants, and comes back when it wants something again. */
  #settle(): void {
    const now = this.#host.monotonic();
    if (now >= this.#answerBy) this.#end("the relay does not answer");
    if (!this.#hasEnded && now >= this.#renewAt) {
      this.#renewAt = now + KEEP_ALIVE;
      this.#answerBy = Math.min(this.#answerBy, now + ANSWER_TIMEOUT);
      this.#client.refresh(now);
    }
    for (const effect of this.#client.takeEffects()) this.#perform(effect);
    clearTimeout(this.#timer);
    if (this.#hasEnded) return;
    const wait = Math.min(this.#client.nextDeadline(), this.#renewAt, this.#answerBy) - now;
    this.#timer = setTimeout(() => {
      this.#client.advance(this.#host.monotonic());
      this.#settle();
    }, Math.max(0, wait));
  }

  #perform(effect: TurnClientEffect): void {
    switch (effect.kind) {
      case "send":
        void this.#transmit(effect.bytes);
        return;
      case "mapped":
        return this.#events.onMapped(effect.address);
      case "allocated":
        this.#renewAt = this.#host.monotonic() + KEEP_ALIVE;
        if (effect.mapped) this.#events.onMapped(effect.mapped);
        return this.#events.onAllocated(effect.relayed);
      case "permitted": {
        const key = formatIp(effect.address);
        const waiting = this.#permitted.get(key);
        this.#permitted.set(key, "granted");
        if (waiting && waiting !== "granted") waiting.forEach((bytes) => this.#transmit(bytes));
        return;
      }
      case "channel-bound":
        this.#channels.set(formatAddressPort(effect.peer), effect.channel);
        return;
      case "refused": {
        const { purpose, refusal } = effect;
        log.debug("The relay answers a {kind} request with {code}", {
          kind: purpose.kind,
          code: refusal.code,
        });
        if (purpose.kind === "permission") this.#permitted.delete(formatIp(purpose.address));
        if (purpose.kind === "channel") this.#channels.delete(formatAddressPort(purpose.peer));
        if (purpose.kind === "allocation") {
          this.#end(`the relay answers an allocation request with ${refusal.code}`);
        }
        const isOfPeer = purpose.kind === "permission" || purpose.kind === "channel";
        if (isOfPeer && ALLOCATION_DOUBTFUL.has(refusal.code)) this.recheck();
        return;
      }
      case "ended":
        return this.#end("the relay ended the allocation");
    }
  }

  async #read(): Promise<void> {
    try {
      await this.#carrier.read((buffer, offset, length) => this.#receive(buffer, offset, length));
    } catch {
      // What cannot be read on has ended.
    }
    this.#end("the connection to the relay ended");
  }

  #receive(buffer: Uint8Array, offset: number, length: number): Promise<unknown> | void {
    this.#answerBy = Infinity;
    const isData = this.#client.receive(buffer, offset, length, this.#host.monotonic());
    const { peer, dataOffset, dataLength } = this.#client;
    if (isData && peer) return this.#events.onDatagram(peer, buffer, dataOffset, dataLength);
    this.#settle();
  }

  #end(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#events.onEnd(reason);
  }
}
