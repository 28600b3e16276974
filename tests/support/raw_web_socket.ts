import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { clientFrame } from "./client_frames.ts";

export interface RawOptions {
  /** Certificates to trust; with them, over TLS. */
  readonly caCerts?: string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** A request to make on the same connection first. */
  readonly before?: string;
  /** What to send together with the handshake. */
  readonly behind?: Uint8Array;
  /** Sends so many bytes at a time. Default all. */
  readonly pieces?: number;
}

/** The port of this end of a connection. */
export function localPortOf({ localAddr }: Deno.Conn): number {
  return localAddr.transport === "tcp" ? localAddr.port : NaN;
}

/**
 * A WebSocket client that does nothing by itself: it reads only when asked, answers no ping and
 * sends whatever bytes a test wants (RFC 6455).
 */
export class RawWebSocket {
  readonly #connection: Deno.TcpConn | Deno.TlsConn;
  /** Status line and headers with which the server answered. */
  readonly response: string;

  private constructor(connection: Deno.TcpConn | Deno.TlsConn, response: string) {
    this.#connection = connection;
    this.response = response;
  }

  static async open(port: number, options: RawOptions = {}): Promise<RawWebSocket> {
    const { caCerts, before = "", behind = new Uint8Array(0), pieces = Infinity } = options;
    const connection = caCerts
      ? await Deno.connectTls({ hostname: "localhost", port, caCerts })
      : await Deno.connect({ hostname: "127.0.0.1", port });
    let response = "";
    const readHead = async () => {
      const byte = new Uint8Array(1);
      const start = response.length;
      while (!response.endsWith("\r\n\r\n") || response.length === start) {
        if (await connection.read(byte) === null) break;
        response += String.fromCharCode(byte[0]!);
      }
    };
    if (before) {
      await connection.write(utf8(before));
      await readHead();
    }
    const headers = {
      "host": "localhost",
      "connection": "Upgrade",
      "upgrade": "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...options.headers,
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const request = concatBytes(utf8(`GET / HTTP/1.1\r\n${lines.join("")}\r\n`), behind);
    for (let at = 0; at < request.length; at += pieces) {
      await connection.write(request.subarray(at, at + pieces));
    }
    await readHead();
    return new RawWebSocket(connection, response);
  }

  /** The port that the server sees. */
  get localPort(): number {
    return localPortOf(this.#connection);
  }

  /** Sends one frame with the given first byte, masked with zeros. */
  async send(firstByte: number, payload: Uint8Array): Promise<void> {
    await this.write(clientFrame(firstByte, payload));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.#connection.write(bytes.subarray(sent));
    }
  }

  /** What comes next, at most so many bytes. */
  async read(most: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(most);
    return buffer.subarray(0, await this.#connection.read(buffer) ?? 0);
  }

  /** Reads to the end, however it comes: `reset` when the server broke the connection off. */
  async readToEnd(): Promise<{ length: number; end: "closed" | "reset" }> {
    const buffer = new Uint8Array(65_536);
    let length = 0;
    try {
      for (;;) {
        const read = await this.#connection.read(buffer);
        if (read === null) return { length, end: "closed" };
        length += read;
      }
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return { length, end: "reset" };
      // TLS without its closing message.
      if (error instanceof Deno.errors.UnexpectedEof) return { length, end: "closed" };
      throw error;
    }
  }

  /** Says at the TCP level that nothing more will be sent. */
  finish(): Promise<void> {
    return this.#connection.closeWrite();
  }

  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
