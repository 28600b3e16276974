import type { Socket } from "node:net";
import { ProtocolError } from "../../base/errors.ts";
import type { Endpoint } from "../../base/endpoint.ts";
import { LAST_CHANNEL, LAST_LEGACY_CHANNEL } from "../../protocol/stun/channel_data.ts";
import { MAX_FRAME_LENGTH, StreamFramer } from "../../protocol/stun/stream_framer.ts";
import type { Allocation } from "../../protocol/turn/allocation.ts";
import type { Client } from "../../protocol/turn/client.ts";
import { HEADROOM } from "../../protocol/turn/relay_data.ts";
import { addressKey } from "../signal/client_address.ts";
import { endpointOf } from "./packet_source.ts";
import type { RelayLimits } from "./relay_options.ts";
import type { TurnDriver } from "./turn_driver.ts";

/** The longest frame of a client that has no allocation: a request and no data. */
const MAX_REQUEST_LENGTH = 2_048;
/** Datagrams of one connection that may wait for the sockets of their relay ports. */
const MAX_SENDING = 64;

/** Why the relay ended a connection. */
export const CONNECTION_ENDS = [
  "too many connections",
  "idle",
  "slow reader",
  "broken frame",
] as const;
export type ConnectionEnd = typeof CONNECTION_ENDS[number];

export interface StreamConnectionsOptions {
  readonly driver: TurnDriver;
  readonly limits: RelayLimits;
  readonly legacyChannels: boolean;
  readonly onEnd: (why: ConnectionEnd) => void;
}

/** The connections of clients over TCP and TLS, and what bounds them. */
export class StreamConnections {
  readonly #options: StreamConnectionsOptions;
  readonly #connections = new Map<Socket, StreamConnection>();
  /** Connections by client address. */
  readonly #counts = new Map<string, number>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: StreamConnectionsOptions) {
    this.#options = options;
    const { idleTimeout, stallTimeout } = options.limits;
    this.#timer = setInterval(() => this.#review(), Math.min(idleTimeout, stallTimeout) / 8);
  }

  get size(): number {
    return this.#connections.size;
  }

  /**
   * Counts a TCP connection that has just come, from here until it ends. Over TLS `start` it when
   * the handshake is done. Returns `undefined` when there is no room for it: it is reset.
   */
  accept(socket: Socket, transport: "tcp" | "tls"): StreamConnection | undefined {
    socket.on("error", () => {});
    const { driver, limits, legacyChannels, onEnd } = this.#options;
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.destroy();
      return undefined;
    }
    const endpoint = endpointOf(remoteAddress, remotePort);
    const key = addressKey(endpoint.hostname);
    const count = this.#counts.get(key) ?? 0;
    if (this.size >= limits.maxConnections || count >= limits.connectionsPerAddress) {
      onEnd("too many connections");
      socket.resetAndDestroy();
      return undefined;
    }
    this.#counts.set(key, count + 1);
    const connection = new StreamConnection({
      ...{ socket, transport, endpoint, driver, limits, onEnd },
      lastChannel: legacyChannels ? LAST_LEGACY_CHANNEL : LAST_CHANNEL,
    });
    this.#connections.set(socket, connection);
    socket.on("close", () => {
      this.#connections.delete(socket);
      const left = (this.#counts.get(key) ?? 1) - 1;
      if (left === 0) this.#counts.delete(key);
      else this.#counts.set(key, left);
      driver.clientGone(connection);
    });
    return connection;
  }

  /** Resets all connections. */
  close(): void {
    clearInterval(this.#timer);
    for (const socket of [...this.#connections.keys()]) socket.resetAndDestroy();
  }

  #review(): void {
    const now = this.#options.driver.now();
    for (const connection of [...this.#connections.values()]) connection.review(now);
  }
}

/** A client's connection. */
export class StreamConnection implements Client {
  readonly transport: "tcp" | "tls";
  readonly endpoint: Endpoint;
  allocation: Allocation | undefined = undefined;
  /** The TCP connection, which alone can be ended for good when the client does not read. */
  readonly #socket: Socket;
  readonly #driver: TurnDriver;
  readonly #limits: RelayLimits;
  readonly #onEnd: (why: ConnectionEnd) => void;
  readonly #framer: StreamFramer;
  /** What frames are written to, TLS included; `undefined` during the handshake. */
  #stream: Socket | undefined;
  /** When the last whole frame came. */
  #heardAt: number;
  /** Since when the queue has been full. */
  #stalledAt: number | undefined;
  #sending = 0;

  constructor(options: {
    readonly socket: Socket;
    readonly transport: "tcp" | "tls";
    readonly endpoint: Endpoint;
    readonly driver: TurnDriver;
    readonly limits: RelayLimits;
    readonly lastChannel: number;
    readonly onEnd: (why: ConnectionEnd) => void;
  }) {
    this.transport = options.transport;
    this.endpoint = options.endpoint;
    this.#socket = options.socket;
    this.#driver = options.driver;
    this.#limits = options.limits;
    this.#onEnd = options.onEnd;
    this.#heardAt = options.driver.now();
    this.#framer = new StreamFramer({
      headroom: HEADROOM,
      maxFrameLength: MAX_REQUEST_LENGTH,
      lastChannel: options.lastChannel,
    });
  }

  /** Begins to read frames from `stream`, which is the connection itself or the TLS on it. */
  start(stream: Socket): void {
    this.#stream = stream;
    stream.setNoDelay(true);
    stream.on("error", () => {});
    stream.on("data", (chunk: Uint8Array) => this.#read(chunk));
    stream.on("drain", () => this.#stalledAt = undefined);
  }

  /** Queues a copy, or drops it when the client does not read what waits already. */
  send(buffer: Uint8Array, offset: number, length: number): void {
    const stream = this.#stream;
    if (stream === undefined || !stream.writable) return;
    if (stream.writableLength + length > this.#limits.maxQueuedBytes) {
      this.#stalledAt ??= this.#driver.now();
      this.#driver.server.counters.droppedBackpressure++;
      return;
    }
    stream.write(buffer.slice(offset, offset + length));
  }

  /** Ends the connection if it has nothing to say, or does not listen. */
  review(now: number): void {
    const { idleTimeout, stallTimeout } = this.#limits;
    if (this.#stalledAt !== undefined && now - this.#stalledAt >= stallTimeout) {
      this.#reset("slow reader");
    } else if (this.allocation !== undefined) {
      this.#heardAt = now;
    } else if (now - this.#heardAt >= idleTimeout) {
      this.#reset("idle");
    }
  }

  #read(chunk: Uint8Array): void {
    const framer = this.#framer;
    framer.push(chunk);
    try {
      while (framer.next()) this.#receive(framer.buffer, framer.offset, framer.length);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#reset("broken frame");
    }
  }

  #receive(buffer: Uint8Array, offset: number, length: number): void {
    this.#heardAt = this.#driver.now();
    if (this.#sending >= MAX_SENDING) {
      this.#driver.server.counters.droppedBackpressure++;
      return;
    }
    const sent = this.#driver.fromStream(this, buffer, offset, length);
    const hasAllocation = this.allocation !== undefined;
    this.#framer.maxFrameLength = hasAllocation ? MAX_FRAME_LENGTH : MAX_REQUEST_LENGTH;
    if (sent === undefined) return;
    this.#sending++;
    sent.then(
      () => this.#sending--,
      () => {
        this.#sending--;
        this.#driver.server.counters.droppedBackpressure++;
      },
    );
  }

  #reset(why: ConnectionEnd): void {
    this.#onEnd(why);
    this.#socket.resetAndDestroy();
  }
}
