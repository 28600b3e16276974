import { createHash } from "node:crypto";
import { type Server, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { utf8 } from "../base/bytes.ts";
import {
  ACCEPT_SUFFIX,
  checkHandshake,
  SUPPORTED_VERSION,
  switchingProtocols,
} from "../protocol/web_socket_handshake.ts";
import {
  AcceptedSocket,
  type AcceptedWebSocket,
  type DropReason,
  type SocketLimits,
  WriteTurn,
} from "./accepted_socket.ts";
import { DeadlineQueue } from "./deadline_queue.ts";
import { onUpgradeRequest, type UpgradeRequest } from "./upgrade_requests.ts";

const GOING_AWAY = 1001;
/** Pings go out in as many parts, or at thousands of connections all others would wait for them. */
const PING_PARTS = 16;

/** Bounds of accepted sockets. */
export interface AcceptLimits extends SocketLimits {
  /** Sockets at a time; beyond, upgrades are answered with 503. Default 16,384. */
  readonly maxSockets?: number;
  /** Milliseconds between pings; two that go unanswered reset the connection. Default 25,000. */
  readonly pingInterval?: number;
  /** Milliseconds that a handler may take to accept or refuse. Default 10,000. */
  readonly decisionTimeout?: number;
}

/** Decides on one upgrade by calling `accept` or `refuse` once. */
export type UpgradeHandler = (
  request: UpgradeRequest,
  /** Completes the handshake, naming `protocol` if the client offers it. */
  accept: (onOpen: (socket: AcceptedWebSocket) => void, protocol?: string) => void,
  /** Answers with an HTTP status in place of the upgrade. */
  refuse: (status: number, headers?: Readonly<Record<string, string>>) => void,
) => void;

/** The sockets that one HTTP server has accepted. */
export interface WebSocketAcceptor {
  readonly size: number;
  readonly sockets: Iterable<AcceptedWebSocket>;
  /** Closes all with 1001 and refuses further ones. */
  close(reason: string): void;
}

/** Accepts WebSockets (RFC 6455) on `server`; nothing else may listen for its upgrades. */
export function acceptWebSockets(options: {
  readonly server: Server;
  readonly limits: AcceptLimits;
  readonly handler: UpgradeHandler;
  readonly onDrop?: (reason: DropReason) => void;
}): WebSocketAcceptor {
  const { server, limits, handler, onDrop = () => {} } = options;
  const { maxSockets = 16_384, pingInterval = 25_000, decisionTimeout = 10_000 } = limits;
  const { closeTimeout = 2_000 } = limits;
  const sockets = new Set<AcceptedSocket>();
  /** Connections that wait for a decision, each with what ends the wait. */
  const pending = new Map<Socket, () => void>();
  const pinger = new Pinger(sockets, pingInterval);
  let open = true;
  const around = {
    limits,
    onDrop,
    writes: new WriteTurn(),
    leaving: new DeadlineQueue<AcceptedSocket>(closeTimeout, (late) => late.destroy()),
    reset: resetOf(server),
    onEnd: (socket: AcceptedSocket) => void sockets.delete(socket),
  };
  server.on("close", () => {
    pinger.close();
    around.leaving.close();
  });

  onUpgradeRequest(server, (request, connection, rest) => {
    let isDecided = false;
    const settle = () => {
      if (isDecided) return false;
      isDecided = true;
      pending.get(connection)?.();
      return !connection.destroyed;
    };
    const refuse = (status: number, headers: Readonly<Record<string, string>> = {}) => {
      if (settle()) refuseUpgrade(connection, status, headers);
    };
    const accept = (onOpen: (socket: AcceptedWebSocket) => void, protocol?: string) => {
      if (!settle()) return;
      const handshake = checkHandshake(request.headers);
      if (!handshake) return refuseUpgrade(connection, 400, SUPPORTED_VERSION);
      const { key, offered } = handshake;
      const chosen = protocol !== undefined && offered.includes(protocol) ? protocol : undefined;
      const proof = createHash("sha1").update(key + ACCEPT_SUFFIX).digest("base64");
      connection.write(utf8(switchingProtocols(proof, chosen)));
      const socket = new AcceptedSocket(connection, around);
      sockets.add(socket);
      pinger.start();
      onOpen(socket);
      socket.start(rest);
    };
    if (!open || sockets.size >= maxSockets) return refuse(503, { "retry-after": "10" });
    handler(request, accept, refuse);
    if (isDecided) return;
    connection.pause();
    const timer = setTimeout(() => connection.destroy(), decisionTimeout);
    connection.once("close", settle);
    pending.set(connection, () => {
      pending.delete(connection);
      connection.off("close", settle);
      clearTimeout(timer);
    });
  });

  return {
    sockets,
    get size() {
      return sockets.size;
    },
    close(reason) {
      open = false;
      for (const socket of sockets) socket.close(GOING_AWAY, reason);
      for (const connection of pending.keys()) connection.destroy();
    },
  };
}

/** Pings each socket once in an interval, evenly spread over it. */
class Pinger {
  readonly #sockets: ReadonlySet<AcceptedSocket>;
  readonly #interval: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #part = 0;
  #rest: Iterator<AcceptedSocket> = [].values();

  constructor(sockets: ReadonlySet<AcceptedSocket>, interval: number) {
    this.#sockets = sockets;
    this.#interval = interval;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#pingPart(), this.#interval / PING_PARTS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #pingPart(): void {
    if (this.#part === 0) {
      this.#ping(Infinity);
      this.#rest = this.#sockets.values();
    }
    this.#part = (this.#part + 1) % PING_PARTS;
    this.#ping(Math.ceil(this.#sockets.size / PING_PARTS));
  }

  #ping(most: number): void {
    for (let count = 0; count < most; count++) {
      const { value, done } = this.#rest.next();
      if (done) return;
      value.ping();
    }
  }
}

/** How a connection of `server` is ended at once: with TLS on it, only the one under it can be. */
function resetOf(server: Server): (connection: Socket) => void {
  if (server.listenerCount("secureConnection") === 0) {
    return (connection) => connection.resetAndDestroy();
  }
  const byEnds = new Map<string, Socket>();
  server.on("connection", (socket: Socket) => {
    const ends = endsOf(socket);
    byEnds.set(ends, socket);
    socket.on("close", () => {
      if (byEnds.get(ends) === socket) byEnds.delete(ends);
    });
  });
  return (connection) => (byEnds.get(endsOf(connection)) ?? connection).resetAndDestroy();
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

function refuseUpgrade(
  connection: Socket,
  status: number,
  headers: Readonly<Record<string, string>>,
): void {
  const lines = Object.entries({ ...headers, connection: "close", "content-length": "0" })
    .map(([name, value]) => `${name}: ${value}\r\n`);
  connection.on("error", () => {});
  connection.once("finish", () => connection.destroy());
  connection.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`);
}
