import type { Endpoint } from "../../base/endpoint.ts";
import type { Allocation } from "./allocation.ts";

/**
 * The client's end of a 5-tuple (RFC 8656 section 2), an object of the shell: one for each
 * connection, and for UDP one for each pair of listening socket and remote address, which the shell
 * need not remember while {@linkcode allocation} is undefined.
 */
export interface Client {
  readonly transport: "udp" | "tcp" | "tls";
  /** Where the client's datagrams or connection come from. */
  readonly endpoint: Endpoint;
  /** Begins as `undefined`; only the machine sets it, from the first moment of an allocation. */
  allocation: Allocation | undefined;
  /**
   * Sends `buffer[offset, offset + length)` on this 5-tuple. A promise says when the buffer may be
   * written again. The machine never calls it.
   */
  send(buffer: Uint8Array, offset: number, length: number): void | Promise<unknown>;
}

/** The socket of a relayed transport address, an object of the shell. The machine never calls it. */
export interface RelaySocket {
  /**
   * Sends `buffer[offset, offset + length)` as one datagram, without fragmenting where asked. A
   * promise says when the buffer may be written again.
   */
  send(
    buffer: Uint8Array,
    offset: number,
    length: number,
    to: Endpoint,
    dontFragment: boolean,
  ): void | Promise<unknown>;
}
