import { utf8 } from "../../src/base/bytes.ts";
import { clientFrame } from "./client_frames.ts";

/**
 * A WebSocket client that does nothing by itself: it reads only when asked, answers no ping and
 * sends whatever bytes a test wants (RFC 6455).
 */
export class RawWebSocket {
  readonly #connection: Deno.Conn;
  /** Status line and headers with which the server answered. */
  readonly response: string;

  private constructor(connection: Deno.Conn, response: string) {
    this.#connection = connection;
    this.response = response;
  }

  static async open(
    port: number,
    options: { caCerts?: string[]; headers?: Record<string, string> } = {},
  ): Promise<RawWebSocket> {
    const connection = options.caCerts
      ? await Deno.connectTls({ hostname: "localhost", port, caCerts: options.caCerts })
      : await Deno.connect({ hostname: "127.0.0.1", port });
    const headers = {
      "host": "localhost",
      "connection": "Upgrade",
      "upgrade": "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...options.headers,
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    await connection.write(utf8(`GET / HTTP/1.1\r\n${lines.join("")}\r\n`));
    let response = "";
    const byte = new Uint8Array(1);
    while (!response.endsWith("\r\n\r\n") && await connection.read(byte) !== null) {
      response += String.fromCharCode(byte[0]!);
    }
    return new RawWebSocket(connection, response);
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

  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
