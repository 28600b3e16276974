import {
  checkOptions,
  type ConnectionOptions,
  extractProtocolMessage,
  INFO,
  type NatsConnection,
  NatsConnectionImpl,
  type Server,
  setTransportFactory,
  type Transport,
} from "@nats-io/nats-core/internal";
import { concatBytes } from "../../base/bytes.ts";

const READ_LENGTH = 65_536;
/** A server introduces itself in a line; this is about 50 times as long as they are. */
const MOST_INTRODUCTION = 32_768;
/** Parts of what is sent that go in one write. */
const MOST_JOINED = 1_024;

export interface CancellableOptions extends ConnectionOptions {
  /** Ends the connection, also one that is still being made. */
  readonly signal?: AbortSignal;
}

/** @throws {Error} when no server lets this one in, or in time. */
export function connectNats(options: CancellableOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new NatsTransport() });
  return NatsConnectionImpl.connect(options);
}

/**
 * A connection of the system for the NATS library, TLS included. The library's own one for Node
 * leaves its socket without a listener for errors at times, which then end the process.
 */
class NatsTransport implements Transport {
  readonly lang = "cairn";
  readonly version = "1";
  closeError?: Error;
  #connection: Deno.TcpConn | Deno.TlsConn | undefined;
  #isEncrypted = false;
  /** What came before the library began to read. */
  #introduction: Uint8Array = new Uint8Array(0);
  #queue: Uint8Array[] = [];
  #isWriting = false;
  #isClosed = false;
  readonly #ended = Promise.withResolvers<void | Error>();

  get isClosed(): boolean {
    return this.#isClosed;
  }

  isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  async connect({ hostname, port }: Server, options: CancellableOptions): Promise<void> {
    const { signal } = options;
    const connection = this.#connection = await Deno.connect({
      hostname,
      port,
      ...(signal && { signal }),
    });
    this.#obey(signal);
    this.#closeIfLate();
    connection.setNoDelay();
    let line = "";
    while ((line = extractProtocolMessage(this.#introduction)) === "") {
      const bytes = await read(connection);
      if (!bytes || this.#introduction.length > MOST_INTRODUCTION) {
        throw new Error("what answers there is no NATS server");
      }
      this.#introduction = concatBytes(this.#introduction, bytes);
    }
    const said = INFO.exec(line)?.[1];
    if (said === undefined) throw new Error("what answers there is no NATS server");
    const info = JSON.parse(said);
    checkOptions(info, options);
    if (info.tls_required !== true && info.tls_available !== true) return;
    this.#connection = await Deno.startTls(connection, { hostname });
    this.#isEncrypted = true;
    this.#closeIfLate();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const connection = this.#connection;
    if (!connection) return;
    let failure: Error | undefined;
    try {
      yield this.#introduction;
      for (let bytes; (bytes = await read(connection));) yield bytes;
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#end(failure);
    }
  }

  send(frame: Uint8Array): void {
    if (this.#isClosed) return;
    this.#queue.push(frame);
    if (!this.#isWriting) void this.#write();
  }

  close(error?: Error): Promise<void> {
    this.#end(error);
    return Promise.resolve();
  }

  disconnect(): void {
    this.#end();
  }

  discard(): void {
    this.#end();
  }

  closed(): Promise<void | Error> {
    return this.#ended.promise;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#queue.length > 0) {
        const bytes = concatBytes(...this.#queue.splice(0, MOST_JOINED));
        for (let sent = 0; sent < bytes.length && this.#connection;) {
          sent += await this.#connection.write(bytes.subarray(sent));
        }
      }
    } catch {
      // Who reads learns that the connection has ended, and why.
      this.#end();
    } finally {
      this.#isWriting = false;
    }
  }

  #obey(signal: AbortSignal | undefined): void {
    const end = () => this.#end(new Error("this server ends"));
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end);
    void this.#ended.promise.then(() => signal?.removeEventListener("abort", end));
  }

  /** The library, or this server, has given up in the meantime. */
  #closeIfLate(): void {
    if (!this.#isClosed) return;
    closeQuietly(this.#connection);
    throw this.closeError ?? new Error("the connection took too long");
  }

  #end(error?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error) this.closeError = error;
    this.#queue = [];
    closeQuietly(this.#connection);
    this.#ended.resolve(error);
  }
}

async function read(connection: Deno.Conn): Promise<Uint8Array | undefined> {
  const buffer = new Uint8Array(READ_LENGTH);
  const length = await connection.read(buffer);
  return length === null ? undefined : buffer.subarray(0, length);
}

function closeQuietly(connection: Deno.Conn | undefined): void {
  try {
    connection?.close();
  } catch {
    // It has ended by itself.
  }
}
