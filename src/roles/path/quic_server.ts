import { getLogger } from "@logtape/logtape";
import type { QuicCertificate } from "./quic_certificate.ts";
import { QuicSocket } from "./quic_socket.ts";

const log = getLogger(["cairn", "path"]);

export const QUIC_ALPN = "cairn-link/1";
/** Milliseconds without a packet after which a connection has ended. */
export const QUIC_IDLE_TIMEOUT = 30_000;
const LOOPBACK = "127.0.0.1";
/** Handshakes under way, and connections that have opened no stream yet: more than one peer can begin. */
const MAX_UNFINISHED = 256;
const STREAM_TIMEOUT = 10_000;

/**
 * A QUIC endpoint on loopback that accepts a connection from each address that was announced to it,
 * which a path forwards packets from. Everybody else on this machine is turned away.
 */
export class QuicServer {
  readonly #endpoint: Deno.QuicEndpoint;
  readonly #listener: Deno.QuicListener;
  readonly #expected = new Map<number, (socket: QuicSocket) => void>();
  readonly #done: Promise<void>;
  #unfinished = 0;
  #isOpen = true;

  constructor({ cert, key }: QuicCertificate) {
    this.#endpoint = new Deno.QuicEndpoint({ hostname: LOOPBACK, port: 0 });
    this.#listener = this.#endpoint.listen({
      cert,
      key,
      alpnProtocols: [QUIC_ALPN],
      maxIdleTimeout: QUIC_IDLE_TIMEOUT,
      maxConcurrentBidirectionalStreams: 1,
      maxConcurrentUnidirectionalStreams: 0,
    });
    this.#done = this.#accept();
  }

  get port(): number {
    return this.#endpoint.addr.port;
  }

  /** Accepts connections that come from this port of loopback, until it is called off. */
  expect(port: number, onSocket: (socket: QuicSocket) => void): () => void {
    this.#expected.set(port, onSocket);
    return () => this.#expected.delete(port);
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#listener.stop();
    this.#endpoint.close();
    await this.#done;
  }

  /** Nothing is awaited here but the next attempt: one that fails must not hold up the others. */
  async #accept(): Promise<void> {
    while (this.#isOpen) {
      let incoming: Deno.QuicIncoming;
      try {
        incoming = await this.#listener.incoming();
      } catch {
        if (!this.#isOpen) return;
        continue;
      }
      if (this.#unfinished >= MAX_UNFINISHED) incoming.refuse();
      else void this.#welcome(incoming);
    }
  }

  async #welcome(incoming: Deno.QuicIncoming): Promise<void> {
    this.#unfinished += 1;
    let connection: Deno.QuicConn | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      // Its address cannot be asked before: Deno then takes the attempt for accepted.
      connection = await incoming.accept();
      const late = connection;
      timer = setTimeout(() => late.close(), STREAM_TIMEOUT);
      const onSocket = this.#expected.get(connection.remoteAddr.port);
      if (!onSocket || connection.remoteAddr.hostname !== LOOPBACK) return connection.close();
      const streams = connection.incomingBidirectionalStreams.getReader();
      const { value: stream } = await streams.read();
      if (stream) onSocket(new QuicSocket(connection, stream));
      else connection.close();
    } catch (error) {
      log.debug("A QUIC connection did not come about: {error}", { error });
      connection?.close();
    } finally {
      clearTimeout(timer);
      this.#unfinished -= 1;
    }
  }
}
