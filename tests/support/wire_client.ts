import assert from "node:assert/strict";
import type { AddressPort, IpAddress } from "../../src/base/address.ts";
import type { AddressFamily } from "../../src/base/endpoint.ts";
import { systemHost } from "../../src/base/host.ts";
import { LAST_LEGACY_CHANNEL } from "../../src/protocol/stun/channel_data.ts";
import { MAX_FRAME_LENGTH, StreamFramer } from "../../src/protocol/stun/stream_framer.ts";
import type { TurnClientEffect, TurnPurpose } from "../../src/protocol/turn/client_effects.ts";
import { TurnClient } from "../../src/protocol/turn/turn_client.ts";
import { within } from "./deadline.ts";

const WITHIN_MS = 120_000;
const ROOM = 65_536;
const HEADER = 4;

/** Where a relay is and how it is spoken to. */
export interface WireTarget {
  readonly transport: "udp" | "tcp" | "tls";
  readonly port: number;
  /** Default 127.0.0.1, for TLS localhost. */
  readonly hostname?: string;
  /** PEM that TLS trusts. */
  readonly caCert?: string;
  readonly username?: string;
  readonly password?: string;
  readonly family?: AddressFamily;
  /** The address to speak from over UDP. Default 127.0.0.1. */
  readonly from?: string;
}

/** A datagram of a peer. */
export interface FromPeer {
  readonly peer: AddressPort;
  readonly data: Uint8Array;
}

/** Bytes in both directions: datagrams, or chunks of a stream. */
interface Wire {
  send(bytes: Uint8Array): Promise<unknown>;
  /** `undefined` at the end. */
  receive(): Promise<Uint8Array | undefined>;
  close(): void;
}

/** A refused request of a client of a test. */
export class Refused extends Error {
  readonly code: number | string;

  constructor(purpose: TurnPurpose, code: number | string) {
    super(`${purpose.kind} was refused: ${code}`);
    this.code = code;
  }
}

/** The project's own TURN client on a socket. */
export class WireClient {
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  /** Length of the last datagram or frame from the server. */
  lastLength = 0;
  readonly #wire: Wire;
  readonly #target: WireTarget;
  #client: TurnClient;
  readonly #framer: StreamFramer | undefined;
  readonly #waiting: {
    readonly kind: TurnClientEffect["kind"];
    readonly resolve: (effect: TurnClientEffect) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  readonly #arrived: FromPeer[] = [];
  #grown = Promise.withResolvers<void>();
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  private constructor(wire: Wire, target: WireTarget) {
    const isStream = target.transport !== "udp";
    this.#wire = wire;
    this.#target = target;
    this.#client = makeClient(target);
    this.#framer = isStream
      ? new StreamFramer({
        headroom: 0,
        maxFrameLength: MAX_FRAME_LENGTH,
        lastChannel: LAST_LEGACY_CHANNEL,
      })
      : undefined;
    this.ended = this.#read();
  }

  static async open(target: WireTarget): Promise<WireClient> {
    return new WireClient(await openWire(target), target);
  }

  /** Asks for an allocation; the relayed address. */
  async allocate(): Promise<AddressPort> {
    const effect = await this.#ask("allocated", () => this.#client.allocate(now()));
    assert.ok(effect.kind === "allocated");
    return effect.relayed;
  }

  /** The same from the same socket once the former allocation is gone. */
  allocateAnew(): Promise<AddressPort> {
    this.#client = makeClient(this.#target);
    return this.allocate();
  }

  async permit(address: IpAddress): Promise<void> {
    await this.#ask("permitted", () => this.#client.permit(address, now()));
  }

  /** Binds a channel; its number. */
  async bind(peer: AddressPort): Promise<number> {
    let channel = 0;
    await this.#ask("channel-bound", () => channel = this.#client.bindChannel(peer, now()));
    return channel;
  }

  /** Gives the allocation back. */
  async release(): Promise<void> {
    await this.#ask("ended", () => this.#client.release(now()));
  }

  /** Asks for the address that the server sees. */
  async mapped(): Promise<AddressPort> {
    const effect = await this.#ask("mapped", () => this.#client.bind(now()));
    assert.ok(effect.kind === "mapped");
    return effect.address;
  }

  /** Sends ChannelData. */
  async send(channel: number, data: Uint8Array): Promise<void> {
    const buffer = new Uint8Array(HEADER + data.length + 3);
    buffer.set(data, HEADER);
    const length = this.#client.wrap(channel, buffer, HEADER, data.length);
    await this.#wire.send(buffer.subarray(0, length));
  }

  /** Sends these bytes as they are. */
  async sendBytes(bytes: Uint8Array): Promise<void> {
    await this.#wire.send(bytes);
  }

  /** Sends a Send indication. */
  async indicate(peer: AddressPort, data: Uint8Array): Promise<void> {
    await this.#wire.send(this.#client.indication(peer, data));
  }

  /** The next datagram of a peer. */
  async received(): Promise<FromPeer> {
    for (;;) {
      const next = this.#arrived.shift();
      if (next !== undefined) return next;
      await inTime(this.#grown.promise, "a datagram of a peer");
    }
  }

  /** Closes the socket without a word. */
  close(): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#wire.close();
    this.#isClosed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.ended;
  }

  async #ask(kind: TurnClientEffect["kind"], start: () => void): Promise<TurnClientEffect> {
    const { promise, resolve, reject } = Promise.withResolvers<TurnClientEffect>();
    this.#waiting.push({ kind, resolve, reject });
    start();
    this.#settle();
    return await inTime(promise, `the relay's answer: ${kind}`);
  }

  #settle(): void {
    for (const effect of this.#client.takeEffects()) {
      if (effect.kind === "send") this.#wire.send(effect.bytes).catch(() => {});
      else this.#tell(effect);
    }
    clearTimeout(this.#timer);
    const wait = this.#client.nextDeadline() - now();
    if (wait === Infinity || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#client.advance(now());
      this.#settle();
    }, Math.max(0, wait));
  }

  #tell(effect: TurnClientEffect): void {
    const isRefusal = effect.kind === "refused";
    const first = isRefusal ? 0 : this.#waiting.findIndex(({ kind }) => kind === effect.kind);
    const [waiting] = first < 0 ? [] : this.#waiting.splice(first, 1);
    if (isRefusal) waiting?.reject(new Refused(effect.purpose, effect.refusal.code));
    else waiting?.resolve(effect);
  }

  async #read(): Promise<void> {
    for (let chunk; (chunk = await this.#wire.receive()) !== undefined;) {
      if (this.#framer === undefined) {
        this.#receive(chunk, 0, chunk.length);
        continue;
      }
      this.#framer.push(chunk);
      while (this.#framer.next()) {
        this.#receive(this.#framer.buffer, this.#framer.offset, this.#framer.length);
      }
    }
    clearTimeout(this.#timer);
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("The connection has ended"));
  }

  #receive(buffer: Uint8Array, offset: number, length: number): void {
    this.lastLength = length;
    const isFromPeer = this.#client.receive(buffer, offset, length, now());
    const { peer, dataOffset, dataLength } = this.#client;
    if (isFromPeer && peer !== undefined) {
      this.#arrived.push({ peer, data: buffer.slice(dataOffset, dataOffset + dataLength) });
      this.#grown.resolve();
      this.#grown = Promise.withResolvers();
    }
    this.#settle();
  }
}

function makeClient(target: WireTarget): TurnClient {
  return new TurnClient({
    username: target.username ?? "user",
    password: target.password ?? "pass",
    transport: target.transport === "udp" ? "datagram" : "stream",
    ...(target.family && { family: target.family }),
    random: systemHost.random,
  });
}

async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), WITHIN_MS);
  try {
    return await within(deadline.signal, promise, () => what);
  } finally {
    clearTimeout(timer);
  }
}

function now(): number {
  return performance.now();
}

async function openWire(target: WireTarget): Promise<Wire> {
  const { transport, port, hostname = transport === "tls" ? "localhost" : "127.0.0.1" } = target;
  if (transport === "udp") {
    const from = target.from ?? (hostname.includes(":") ? "::1" : "127.0.0.1");
    const socket = Deno.listenDatagram({ transport, hostname: from, port: 0 });
    const to = { transport, hostname, port };
    const buffer = new Uint8Array(ROOM);
    return {
      send: (bytes) => socket.send(bytes, to),
      receive: () => socket.receive(buffer).then(([bytes]) => bytes, () => undefined),
      close: () => socket.close(),
    };
  }
  const connection = transport === "tcp"
    ? await Deno.connect({ hostname, port })
    : await Deno.connectTls({ hostname, port, caCerts: [target.caCert ?? ""] });
  const buffer = new Uint8Array(ROOM);
  let sending = Promise.resolve();
  return {
    send: (bytes) =>
      sending = sending.then(async () => {
        for (let sent = 0; sent < bytes.length;) {
          sent += await connection.write(bytes.subarray(sent));
        }
      }),
    receive: async () => {
      const count = await connection.read(buffer).catch(() => null);
      return count === null ? undefined : buffer.subarray(0, count);
    },
    close: () => connection.close(),
  };
}
