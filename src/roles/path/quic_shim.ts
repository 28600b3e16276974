import { parseIp } from "../../base/address.ts";
import { Endpoint } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import type { DatagramSocket, DatagramSockets } from "../relay/datagram_sockets.ts";
import { type DatagramHandler, KERNEL_BUFFER } from "./wire_socket.ts";

const LOOPBACK = "127.0.0.1";
/**
 * Longer packets are dropped, as a network would: QUIC, which sees only loopback, then finds a
 * length that also fits tunnels and a relay's header.
 */
const MAX_PACKET = 1_360;

/**
 * Packets of the remote that may begin a connection. Its endpoint keeps each that was begun for half
 * a minute, and serves other peers too; an honest peer needs a handful.
 */
const INITIAL_RATE = { burst: 16, perSecond: 1 };

/** The loopback socket that stands for one remote peer towards the QUIC endpoint of this node. */
export class QuicShim {
  readonly #socket: DatagramSocket;
  readonly #endpoint: Endpoint;
  readonly #host: Host;
  readonly #initials: TokenBucket;

  /**
   * `forward` takes a packet of the endpoint on `port` to the remote; there are `HEADROOM` bytes in
   * front of it and more behind, and the buffer may be written again once it resolves.
   */
  constructor(port: number, host: Host, sockets: DatagramSockets, forward: DatagramHandler) {
    this.#host = host;
    this.#initials = new TokenBucket(INITIAL_RATE, host.monotonic());
    const endpoint = this.#endpoint = new Endpoint(parseIp(LOOPBACK)!, port);
    this.#socket = sockets.open({
      hostname: LOOPBACK,
      port: 0,
      inFlight: 1,
      kernelBuffer: KERNEL_BUFFER,
      onDatagram: (buffer, offset, length, from) => {
        const isEndpoint = from.w0 === endpoint.w0 && from.port === port;
        if (isEndpoint && length <= MAX_PACKET) return forward(buffer, offset, length);
      },
      onDrop: () => {},
      onLost: () => {},
    });
  }

  get port(): number {
    return this.#socket.port;
  }

  /** Hands a packet of the remote to the endpoint; see `DatagramSocket.send` for the buffer. */
  deliver(buffer: Uint8Array, offset: number, length: number): Promise<unknown> | void {
    if (length === 0 || length > MAX_PACKET) return;
    if (isInitial(buffer[offset]!) && !this.#initials.take(this.#host.monotonic())) return;
    // What cannot be sent is lost, as any packet may be.
    return this.#socket.send(buffer, offset, length, this.#endpoint)?.catch(() => {});
  }

  close(): void {
    this.#socket.close();
  }
}

/** A long header of type Initial (RFC 9000 section 17.2.2); other versions are not spoken. */
function isInitial(firstByte: number): boolean {
  return (firstByte & 0xb0) === 0x80;
}
