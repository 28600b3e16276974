import type { Host } from "../../base/host.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import { type DatagramHandler, HEADROOM, MAX_DATAGRAM } from "./wire_socket.ts";

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
  readonly #socket: Deno.DatagramConn;
  readonly #endpoint: Deno.NetAddr;
  readonly #done: Promise<void>;
  readonly #host: Host;
  readonly #initials: TokenBucket;
  #isOpen = true;

  /**
   * `forward` takes a packet of the endpoint on `port` to the remote; there are `HEADROOM` bytes in
   * front of it and more behind, and the buffer may be written again once it resolves.
   */
  constructor(
    port: number,
    host: Host,
    forward: DatagramHandler,
  ) {
    this.#host = host;
    this.#initials = new TokenBucket(INITIAL_RATE, host.monotonic());
    this.#endpoint = { transport: "udp", hostname: LOOPBACK, port };
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: LOOPBACK, port: 0 });
    this.#done = this.#pump(forward);
  }

  get port(): number {
    const { addr } = this.#socket;
    return addr.transport === "udp" ? addr.port : 0;
  }

  /** Hands a packet of the remote to the endpoint. */
  async deliver(packet: Uint8Array): Promise<void> {
    if (!this.#isOpen || packet.length > MAX_PACKET) return;
    if (isInitial(packet) && !this.#initials.take(this.#host.monotonic())) return;
    try {
      await this.#socket.send(packet, this.#endpoint);
    } catch {
      // Lost, as any packet may be.
    }
  }

  async close(): Promise<void> {
    if (this.#isOpen) this.#socket.close();
    this.#isOpen = false;
    await this.#done;
  }

  async #pump(
    forward: DatagramHandler,
  ): Promise<void> {
    const buffer = new Uint8Array(HEADROOM + MAX_DATAGRAM);
    const window = buffer.subarray(HEADROOM);
    while (this.#isOpen) {
      try {
        const [bytes, from] = await this.#socket.receive(window);
        const isEndpoint = from.transport === "udp" && from.port === this.#endpoint.port;
        if (!isEndpoint || bytes.length > MAX_PACKET) continue;
        await forward(buffer, HEADROOM, bytes.length);
      } catch {
        // Closed, or an earlier packet found the endpoint gone.
        if (!this.#isOpen) return;
      }
    }
  }
}

/** A long header of type Initial (RFC 9000 section 17.2.2); other versions are not spoken. */
function isInitial(packet: Uint8Array): boolean {
  return (packet[0]! & 0xb0) === 0x80;
}
