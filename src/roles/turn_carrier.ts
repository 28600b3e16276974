import { formatIp, parseIp } from "../base/address.ts";
import { concatBytes } from "../base/bytes.ts";
import type { TurnTransport } from "../protocol/turn/turn_uri.ts";
import { LAST_LEGACY_CHANNEL } from "../protocol/stun/channel_data.ts";
import { MAX_FRAME_LENGTH, StreamFramer } from "../protocol/stun/stream_framer.ts";

/** Where a TURN server is. */
export interface TurnTarget {
  readonly transport: TurnTransport;
  /** An IP address without brackets. */
  readonly address: string;
  readonly port: number;
  /** Over TLS: the name that the certificate must be for. */
  readonly serverName?: string;
  /** Over TLS: certificate authorities (PEM) to trust in place of the system's. */
  readonly caCerts?: readonly string[];
}

/** The way to a TURN server and back: datagrams, or messages on a stream. */
export interface TurnCarrier {
  /** @throws {Error} when the way is gone. */
  send(bytes: Uint8Array): Promise<void>;
  /**
   * Sends `buffer[offset, offset + length)`, or loses it where too much waits already. It must stay
   * as it is until the promise has resolved that this may return.
   */
  forward(buffer: Uint8Array, offset: number, length: number): Promise<unknown> | void;
  /**
   * Hands over what comes, valid until the callback returns, until the server or
   * {@linkcode TurnCarrier.close} ends it.
   *
   * @throws {ProtocolError} when a stream cannot be read on.
   */
  read(receive: (buffer: Uint8Array, offset: number, length: number) => void): Promise<void>;
  close(): void;
}

/** The server was reached, but does not speak TLS or has no certificate that is trusted. */
export class TlsHandshakeFailed extends Error {
  override readonly name = "TlsHandshakeFailed";
}

const MAX_DATAGRAM = 65_536;
/** Bytes that wait for a stream above which datagrams are lost: who sends them must see its pace. */
const MAX_WAITING = 262_144;
/** RFC 7443. */
const ALPN = "stun.turn";

/** Opens the way. @throws {TlsHandshakeFailed} @throws {Error} as the system fails. */
export async function openTurnCarrier(target: TurnTarget): Promise<TurnCarrier> {
  const { transport, address, port } = target;
  if (transport === "udp") return openDatagrams(address, port);
  const connection = await Deno.connect({ hostname: address, port });
  if (transport === "tcp") return streamCarrier(connection);
  const secured = await Deno.startTls(connection, {
    hostname: target.serverName ?? address,
    alpnProtocols: [ALPN],
    ...(target.caCerts && { caCerts: [...target.caCerts] }),
  });
  try {
    await secured.handshake();
  } catch (cause) {
    secured.close();
    throw new TlsHandshakeFailed(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  return streamCarrier(secured);
}

function openDatagrams(address: string, port: number): TurnCarrier {
  const ip = parseIp(address);
  if (ip === undefined) throw new TypeError(`"${address}" is no IP address`);
  // As the system will write it.
  const hostname = formatIp(ip);
  const any = ip.length === 4 ? "0.0.0.0" : "::";
  const socket = Deno.listenDatagram({ transport: "udp", hostname: any, port: 0 });
  const server: Deno.NetAddr = { transport: "udp", hostname, port };
  let isOpen = true;
  return {
    async send(bytes) {
      await socket.send(bytes, server);
    },
    forward: (buffer, offset, length) =>
      socket.send(buffer.subarray(offset, offset + length), server).catch(() => {}),
    async read(receive) {
      const buffer = new Uint8Array(MAX_DATAGRAM);
      while (isOpen) {
        const [bytes, from] = await socket.receive(buffer).catch(() => []);
        if (bytes === undefined || from?.transport !== "udp") return;
        if (from.hostname === hostname && from.port === port) receive(buffer, 0, bytes.length);
      }
    },
    close() {
      if (isOpen) socket.close();
      isOpen = false;
    },
  };
}

function streamCarrier(connection: Deno.Conn): TurnCarrier {
  const framer = new StreamFramer({
    headroom: 0,
    maxFrameLength: MAX_FRAME_LENGTH,
    lastChannel: LAST_LEGACY_CHANNEL,
  });
  let isOpen = true;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let writing: Promise<void> | undefined;
  const write = async () => {
    try {
      // What is sent in one turn of the event loop is written at once.
      await Promise.resolve();
      while (waiting.length > 0) {
        const batch = concatBytes(...waiting);
        waiting = [];
        await writeAll(connection, batch);
        waitingBytes -= batch.length;
      }
    } finally {
      writing = undefined;
    }
  };
  const add = (bytes: Uint8Array): Promise<void> => {
    waiting.push(bytes);
    waitingBytes += bytes.length;
    return writing ??= write();
  };
  return {
    send: add,
    forward(buffer, offset, length) {
      if (waitingBytes + length > MAX_WAITING) return;
      // A connection that breaks shows where it is read.
      add(buffer.slice(offset, offset + length)).catch(() => {});
    },
    async read(receive) {
      const buffer = new Uint8Array(MAX_DATAGRAM);
      while (isOpen) {
        const count = await connection.read(buffer).catch(() => null);
        if (count === null) return;
        framer.push(buffer.subarray(0, count));
        while (framer.next()) receive(framer.buffer, framer.offset, framer.length);
      }
    },
    close() {
      if (isOpen) connection.close();
      isOpen = false;
    },
  };
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await connection.write(bytes.subarray(written));
  }
}
