import { getLogger } from "@logtape/logtape";
import { type AddressPort, formatIp, parseIp } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { decodeStunMessage, MAGIC_COOKIE, type StunMessage } from "../../protocol/stun/message.ts";
import { readU32 } from "../../base/bytes.ts";

const log = getLogger(["cairn", "path"]);

/** Room in front of a datagram for the header of a channel, and behind it for padding. */
export const HEADROOM = 4;
export const TAILROOM = 3;
export const MAX_DATAGRAM = 65_536;
const HEADER_LENGTH = 20;

/** Receives the datagrams of one source; the buffer is valid until its promise, if any, resolves. */
export type DatagramHandler = (
  buffer: Uint8Array,
  offset: number,
  length: number,
) => Promise<void> | void;

/**
 * The UDP socket of one address family that everything of a node shares: connectivity checks, the
 * TURN client and the packets of all paths.
 */
export class WireSocket {
  readonly family: AddressFamily;
  readonly #sources = new Map<string, DatagramHandler>();
  readonly #socket: Deno.DatagramConn;
  readonly #onStun: (message: StunMessage, source: AddressPort) => void;
  readonly #done: Promise<void>;
  #isOpen = true;

  /** `onStun` gets the STUN messages of all other sources. @throws {Error} as the system fails. */
  constructor(
    family: AddressFamily,
    onStun: (message: StunMessage, source: AddressPort) => void,
  ) {
    this.family = family;
    this.#onStun = onStun;
    const hostname = family === 4 ? "0.0.0.0" : "::";
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    this.#done = this.#receive();
  }

  get port(): number {
    const { addr } = this.#socket;
    return addr.transport === "udp" ? addr.port : 0;
  }

  /** Sends one datagram; one that the system does not take is lost like any other. */
  async send(buffer: Uint8Array, to: Deno.NetAddr): Promise<void> {
    if (!this.#isOpen) return;
    try {
      await this.#socket.send(buffer, to);
    } catch (error) {
      log.debug("A datagram could not be sent: {error}", { error });
    }
  }

  /** Hands everything from this source to `handler` until it is called off. */
  route(source: AddressPort, handler: DatagramHandler): () => void {
    const key = sourceKey(formatIp(source.address), source.port);
    this.#sources.set(key, handler);
    return () => {
      if (this.#sources.get(key) === handler) this.#sources.delete(key);
    };
  }

  async close(): Promise<void> {
    if (this.#isOpen) this.#socket.close();
    this.#isOpen = false;
    await this.#done;
  }

  async #receive(): Promise<void> {
    const buffer = new Uint8Array(MAX_DATAGRAM);
    while (this.#isOpen) {
      try {
        const [bytes, from] = await this.#socket.receive(buffer);
        if (from.transport === "udp") await this.#take(buffer, bytes.length, from);
      } catch (error) {
        // An earlier datagram that found nobody shows here on some systems.
        if (this.#isOpen) log.debug("A datagram could not be received: {error}", { error });
      }
    }
  }

  #take(buffer: Uint8Array, length: number, from: Deno.NetAddr): Promise<void> | void {
    const handler = this.#sources.get(sourceKey(from.hostname, from.port));
    if (handler) return handler(buffer, 0, length);
    const message = looksLikeStun(buffer, 0, length)
      ? decodeStunMessage(buffer.subarray(0, length))
      : undefined;
    const address = message && parseIp(from.hostname);
    if (message && address) this.#onStun(message, { address, port: from.port });
  }
}

/** As sockets take addresses. */
export function netAddress({ address, port }: AddressPort): Deno.NetAddr {
  return { transport: "udp", hostname: formatIp(address), port };
}

/**
 * Whether it may be STUN and not a packet of QUIC, whose first byte says as much only by habit (RFC
 * 9443).
 */
export function looksLikeStun(buffer: Uint8Array, offset: number, length: number): boolean {
  return length >= HEADER_LENGTH && buffer[offset]! < 4 &&
    readU32(buffer, offset + 4) === MAGIC_COOKIE;
}

function sourceKey(hostname: string, port: number): string {
  return `${hostname} ${port}`;
}
