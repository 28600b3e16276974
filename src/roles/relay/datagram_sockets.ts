/**
 * The one seam to UDP. Behind it are `Deno.listenDatagram`, which every system has, and
 * `udp_batch/`, which on Linux sends and receives many datagrams with one system call.
 */

import type { AddressWords, Endpoint } from "../../base/endpoint.ts";
import type { IcmpReport } from "../../protocol/turn/icmp_indication.ts";
import { HEADROOM, TAILROOM } from "../../protocol/turn/relay_data.ts";
import { PACKET_BUFFER_LENGTH, PacketBuffers } from "./packet_buffers.ts";
import { PacketSource } from "./packet_source.ts";

/** Receiving may fail so many times in a row before the socket counts as lost. */
const MAX_FAILURES = 16;

/** Where a datagram comes from, valid until the handler returns. */
export interface DatagramSource extends AddressWords {
  toEndpoint(): Endpoint;
}

export interface DatagramSocketOptions {
  /** An IP address of this machine. */
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The descriptor of a socket that is bound there already; only the batching engine takes one. */
  readonly bound?: number | undefined;
  /** How many datagrams may be on their way through this process at a time. */
  readonly inFlight: number;
  /** Bytes that the kernel may keep for this socket, where that can be said. */
  readonly kernelBuffer: number;
  /**
   * `buffer` holds `length` bytes at `offset`, with HEADROOM before and TAILROOM behind them, and
   * is not used again before the promise that this may return has settled.
   */
  readonly onDatagram: (
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: DatagramSource,
  ) => void | Promise<unknown>;
  /** ICMP says that a datagram to `to` came to nothing, where sockets tell. `to` is reused. */
  readonly onIcmp?: (to: AddressWords, report: IcmpReport) => void;
  /** A datagram was lost here: it was longer than the buffer, or could not be sent. */
  readonly onDrop: () => void;
  /** The socket is of no use any more. */
  readonly onLost: (error: unknown) => void;
}

export interface DatagramSocket {
  readonly port: number;
  /**
   * Sends `buffer[offset, offset + length)`, which must stay as it is until the promise has settled
   * that this may return. What cannot be sent is told by that promise or `onDrop`.
   */
  send(
    buffer: Uint8Array,
    offset: number,
    length: number,
    to: Endpoint,
    dontFragment?: boolean,
  ): void | Promise<unknown>;
  close(): void;
  /** Gives the socket up without closing it; its descriptor. Only that of the batching engine can. */
  detach?(): number;
}

/** Opens UDP sockets, all of which are closed before it is disposed of. */
export interface DatagramSockets extends AsyncDisposable {
  readonly engine: "batch" | "portable";
  /** @throws whatever the system says: the port is in use, or there are no more sockets. */
  open(options: DatagramSocketOptions): DatagramSocket;
}

/** UDP sockets of Deno. */
export class DenoDatagramSockets implements DatagramSockets {
  readonly engine = "portable";
  readonly #buffers = new PacketBuffers();

  open(options: DatagramSocketOptions): DatagramSocket {
    const { hostname, port } = options;
    return new DenoDatagramSocket(
      Deno.listenDatagram({ transport: "udp", hostname, port }),
      options,
      this.#buffers,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

class DenoDatagramSocket implements DatagramSocket {
  readonly port: number;
  readonly #socket: Deno.DatagramConn;
  readonly #options: DatagramSocketOptions;
  readonly #source = new PacketSource();
  #isClosed = false;

  constructor(socket: Deno.DatagramConn, options: DatagramSocketOptions, buffers: PacketBuffers) {
    this.#socket = socket;
    this.#options = options;
    this.port = socket.addr.transport === "udp" ? socket.addr.port : 0;
    for (let i = 0; i < options.inFlight; i++) void this.#relay(buffers);
  }

  send(buffer: Uint8Array, offset: number, length: number, to: Endpoint): Promise<unknown> {
    return this.#socket.send(buffer.subarray(offset, offset + length), to);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }

  async #relay(buffers: PacketBuffers): Promise<void> {
    const { onDatagram, onDrop, onLost } = this.#options;
    const buffer = buffers.take();
    const room = buffer.subarray(HEADROOM, PACKET_BUFFER_LENGTH - TAILROOM);
    let failures = 0;
    while (!this.#isClosed) {
      let length: number;
      try {
        const [bytes, from] = await this.#socket.receive(room);
        if (from.transport !== "udp") continue;
        length = bytes.length;
        this.#source.set(from.hostname, from.port);
        failures = 0;
      } catch (error) {
        if (this.#isClosed) break;
        if (++failures < MAX_FAILURES) continue;
        onLost(error);
        break;
      }
      if (length === room.length) {
        onDrop();
        continue;
      }
      const sent = onDatagram(buffer, HEADROOM, length, this.#source);
      if (sent === undefined) continue;
      try {
        await sent;
      } catch {
        onDrop();
      }
    }
    buffers.giveBack(buffer);
  }
}
