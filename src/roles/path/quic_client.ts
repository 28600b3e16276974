import { certificatePem, QUIC_SERVER_NAME } from "./quic_certificate.ts";
import { QUIC_ALPN, QUIC_IDLE_TIMEOUT } from "./quic_server.ts";
import { QuicSocket } from "./quic_socket.ts";

const LOOPBACK = "127.0.0.1";
const KEEP_ALIVE = 10_000;

/** A QUIC endpoint on loopback from which paths are dialed. */
export class QuicClient {
  readonly #endpoint = new Deno.QuicEndpoint({ hostname: LOOPBACK, port: 0 });

  get port(): number {
    return this.#endpoint.addr.port;
  }

  /**
   * Connects to the server that is reached through this port of loopback and must have this
   * certificate. @throws {Error} when the handshake fails.
   */
  async connect(port: number, certificate: Uint8Array): Promise<QuicSocket> {
    const connection = await Deno.connectQuic({
      hostname: LOOPBACK,
      port,
      serverName: QUIC_SERVER_NAME,
      caCerts: [certificatePem(certificate)],
      alpnProtocols: [QUIC_ALPN],
      endpoint: this.#endpoint,
      maxIdleTimeout: QUIC_IDLE_TIMEOUT,
      keepAliveInterval: KEEP_ALIVE,
      maxConcurrentBidirectionalStreams: 0,
      maxConcurrentUnidirectionalStreams: 0,
    });
    try {
      return new QuicSocket(connection, await connection.createBidirectionalStream());
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  close(): void {
    this.#endpoint.close();
  }
}
