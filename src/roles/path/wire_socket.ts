import { getLogger } from "@logtape/logtape";
import type { AddressPort } from "../../base/address.ts";
import { readU32 } from "../../base/bytes.ts";
import { type AddressFamily, Endpoint } from "../../base/endpoint.ts";
import { decodeStunMessage, MAGIC_COOKIE, type StunMessage } from "../../protocol/stun/message.ts";
import { AddressTable } from "../../protocol/turn/address_table.ts";
import type { DatagramSocket, DatagramSockets, DatagramSource } from "../relay/datagram_sockets.ts";

const log = getLogger(["cairn", "path"]);

/** Room in front of a datagram for the header of a channel, and behind it for padding. */
export const HEADROOM = 4;
export const TAILROOM = 3;
/** Bytes that the kernel may keep for a socket: what comes while this thread does something else. */
export const KERNEL_BUFFER = 4 * 1_048_576;
const HEADER_LENGTH = 20;

/** Receives the datagrams of one source; the buffer is valid until its promise, if any, resolves. */
export type DatagramHandler = (
  buffer: Uint8Array,
  offset: number,
  length: number,
) => Promise<unknown> | void;

interface Source {
  readonly endpoint: Endpoint;
  /** `undefined` once it was called off. */
  handler: DatagramHandler | undefined;
}

/**
 * The UDP socket of one address family that everything of a node shares: connectivity checks, the
 * TURN client and the packets of all paths.
 */
export class WireSocket {
  readonly family: AddressFamily;
  readonly #sources = new AddressTable<Source>("address and port");
  readonly #socket: DatagramSocket;
  readonly #onStun: (message: StunMessage, source: AddressPort) => void;

  /** `onStun` gets the STUN messages of all other sources. @throws {Error} as the system fails. */
  constructor(
    family: AddressFamily,
    sockets: DatagramSockets,
    onStun: (message: StunMessage, source: AddressPort) => void,
  ) {
    this.family = family;
    this.#onStun = onStun;
    this.#socket = sockets.open({
      hostname: family === 4 ? "0.0.0.0" : "::",
      port: 0,
      inFlight: 1,
      kernelBuffer: KERNEL_BUFFER,
      onDatagram: (buffer, offset, length, from) => this.#take(buffer, offset, length, from),
      onDrop: () => {},
      onLost: (error) => log.warn("Datagrams come no more: {error}", { error }),
    });
  }

  get port(): number {
    return this.#socket.port;
  }

  /**
   * Sends `buffer[offset, offset + length)`, which must stay as it is until the promise has resolved
   * that this may return. A datagram that the system does not take is lost like any other.
   */
  send(buffer: Uint8Array, offset: number, length: number, to: Endpoint): Promise<unknown> | void {
    return this.#socket.send(buffer, offset, length, to)?.catch((error: unknown) => {
      log.debug("A datagram could not be sent: {error}", { error });
    });
  }

  /** Hands everything from this source to `handler` until it is called off. */
  route({ address, port }: AddressPort, handler: DatagramHandler): () => void {
    const source: Source = { endpoint: new Endpoint(address.slice(), port), handler };
    this.#sources.set(source);
    return () => {
      source.handler = undefined;
      this.#sources.retain((each) => each.handler !== undefined);
    };
  }

  close(): void {
    this.#socket.close();
  }

  #take(
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: DatagramSource,
  ): Promise<unknown> | void {
    const handler = this.#sources.find(from)?.handler;
    if (handler) return handler(buffer, offset, length);
    if (!looksLikeStun(buffer, offset, length)) return;
    const message = decodeStunMessage(buffer.subarray(offset, offset + length));
    if (message) this.#onStun(message, from.toEndpoint());
  }
}

/**
 * Whether it may be STUN and not a packet of QUIC, whose first byte says as much only by habit (RFC
 * 9443).
 */
export function looksLikeStun(buffer: Uint8Array, offset: number, length: number): boolean {
  return length >= HEADER_LENGTH && buffer[offset]! < 4 &&
    readU32(buffer, offset + 4) === MAGIC_COOKIE;
}
