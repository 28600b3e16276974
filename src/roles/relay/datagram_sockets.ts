/**
 * The one seam to UDP. docs/performance_relay.md tells why `Deno.listenDatagram` is behind it; what
 * sends and receives many datagrams with one system call fits here as well.
 */

import type { AddressWords, Endpoint } from "../../base/endpoint.ts";
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
  /** How many datagrams may be on their way through this process at a time. */
  readonly inFlight: number;
  /**
   * `buffer` holds `length` bytes at {@linkcode HEADROOM}, and is not used again before the promise
   * that this may return has settled.
   */
  readonly onDatagram: (
    buffer: Uint8Array,
    length: number,
    from: DatagramSource,
  ) => void | Promise<unknown>;
  /** A datagram was lost here: it was longer than the buffer, or could not be sent. */
  readonly onDrop: () => void;
  /** The socket is of no use any more. */
  readonly onLost: (error: unknown) => void;
}

export interface DatagramSocket {
  readonly port: number;
  /** `bytes` must stay as they are until the promise has settled. */
  send(bytes: Uint8Array, to: Endpoint): Promise<unknown>;
  close(): void;
}

/** Opens UDP sockets. */
export interface DatagramSockets {
  /** @throws whatever the system says: the port is in use, or there are no more sockets. */
  open(options: DatagramSocketOptions): DatagramSocket;
}

/** UDP sockets of Deno. */
export class DenoDatagramSockets implements DatagramSockets {
  readonly #buffers = new PacketBuffers();

  open(options: DatagramSocketOptions): DatagramSocket {
    const { hostname, port } = options;
    return new DenoDatagramSocket(
      Deno.listenDatagram({ transport: "udp", hostname, port }),
      options,
      this.#buffers,
    );
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

  send(bytes: Uint8Array, to: Endpoint): Promise<unknown> {
    return this.#socket.send(bytes, to);
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
      const sent = onDatagram(buffer, length, this.#source);
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
