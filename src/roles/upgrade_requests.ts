import type { Buffer } from "node:buffer";
import type { Server } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { parseUpgradeHead, type RequestHeaders } from "../protocol/web_socket_handshake.ts";
import { DeadlineQueue } from "./deadline_queue.ts";

/** Longer heads are for node:http to accept or to refuse. */
const MAX_HEAD_LENGTH = 8_192;
const HEAD_END = "\r\n\r\n";

/** A request for an upgrade; an `IncomingMessage` is one too. */
export interface UpgradeRequest {
  readonly url?: string | undefined;
  readonly headers: RequestHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/** Takes over the connection of a request; `rest` is what came behind the head. */
export type UpgradeListener = (request: UpgradeRequest, connection: Socket, rest: Buffer) => void;

/**
 * Finds requests for a WebSocket on the connections of an HTTP server, on which the first bytes must
 * come within its `headersTimeout`. Nearly all come whole and first on their connection, and are
 * read here, where they cost a fraction; whatever else comes goes on to node:http, which hands over
 * what it finds to be an upgrade after all.
 */
export function onUpgradeRequest(server: Server, listener: UpgradeListener): void {
  const isTls = server.listenerCount("secureConnection") > 0;
  const event = isTls ? "secureConnection" : "connection";
  // With its first listener of this event node:http begins to read from a connection.
  const [readByHttp, ...others] = server.listeners(event);
  server.removeAllListeners(event);
  for (const other of others) server.on(event, (connection) => other.call(server, connection));
  const waiting = new DeadlineQueue<Socket>(server.headersTimeout, (late) => late.destroy());
  server.on("close", () => waiting.close());
  server.on(event, (connection: Socket) => {
    if (connection.destroyed) return;
    firstBytes(connection, waiting, (bytes) => {
      const end = bytes.indexOf(HEAD_END);
      const head = end > 0 && end <= MAX_HEAD_LENGTH
        ? parseUpgradeHead(bytes.toString("latin1", 0, end))
        : undefined;
      if (head) {
        const { url, headers } = head;
        const rest = bytes.subarray(end + HEAD_END.length);
        return listener({ url, headers, socket: connection }, connection, rest);
      }
      connection.unshift(bytes);
      readByHttp?.call(server, connection);
      // At once, or what comes next is read before it.
      connection.read();
    });
  });
  server.on("upgrade", (request, connection: Duplex, rest: Buffer) => {
    if (connection instanceof Socket) listener(request, connection, rest);
    else connection.destroy();
  });
}

/** Hands over what comes first on a connection, while that is waited for. */
function firstBytes(
  connection: Socket,
  waiting: DeadlineQueue<Socket>,
  take: (bytes: Buffer) => void,
): void {
  const leave = () => {
    waiting.delete(connection);
    connection.off("data", begin).off("end", giveUp).off("close", leave);
  };
  const begin = (bytes: Buffer) => {
    leave();
    take(bytes);
  };
  const giveUp = () => connection.destroy();
  waiting.add(connection);
  connection.on("data", begin).on("end", giveUp).on("close", leave);
}
