import type { Buffer } from "node:buffer";
import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
// @ts-types="@types/ws"
import { type RawData, type WebSocket as PeerWebSocket, WebSocketServer } from "ws";
import { shortReason, type TextFrameSocket, WaitingSocket } from "./web_socket.ts";

const NORMAL = 1000;
const GOING_AWAY = 1001;
const MAX_FRAGMENTS = 256;
const MIN_CHUNKS = 1_024;
/** What a queued message costs beside its bytes. */
const QUEUED_OVERHEAD = 256;

/** Bounds of accepted sockets. */
export interface AcceptLimits {
  /** Longest message; a longer one closes its socket with 1009. */
  readonly maxFrameBytes: number;
  /** Bytes that may wait for a slow reader; beyond, its connection is reset. */
  readonly maxBufferedBytes: number;
  /** Sockets at a time; beyond, upgrades are answered with 503. Default 16,384. */
  readonly maxSockets?: number;
  /** Milliseconds between pings; two that go unanswered reset the connection. Default 25,000. */
  readonly pingInterval?: number;
  /** Milliseconds that a handler may take to accept or refuse. Default 10,000. */
  readonly decisionTimeout?: number;
  /** Milliseconds that a client may take to answer a close. Default 2,000. */
  readonly closeTimeout?: number;
  /**
   * Close code for a slow reader and one that answers no ping. It is reset when it has not taken
   * that in either after `closeTimeout`; without a code it is reset at once.
   */
  readonly tooSlowCode?: number;
}

/** Why the server, and not the client or its handler, ended a connection. */
export type DropReason = "slow reader" | "no answer to pings" | "too large" | "broken frame";

/** A socket that a server accepted. */
export interface AcceptedWebSocket extends TextFrameSocket {
  /** Called for each ping of the client, which is answered by itself. */
  onPing: () => void;
}

/** Decides on one upgrade by calling `accept` or `refuse` once. */
export type UpgradeHandler = (
  request: IncomingMessage,
  /** Completes the handshake, naming `protocol` if the client must see one of its own. */
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

/** Accepts WebSockets on `server`; nothing else may listen for its upgrades. */
export function acceptWebSockets(options: {
  readonly server: Server;
  readonly limits: AcceptLimits;
  readonly handler: UpgradeHandler;
  readonly onDrop?: (reason: DropReason) => void;
}): WebSocketAcceptor {
  const { server, limits, handler, onDrop = () => {} } = options;
  const { maxSockets = 16_384, pingInterval = 25_000, decisionTimeout = 10_000 } = limits;
  const sockets = new Set<AcceptedSocket>();
  const pending = new Set<Duplex>();
  const connections = new Connections(server);
  const chosenProtocols = new WeakMap<IncomingMessage, string>();
  let open = true;
  let pinger: ReturnType<typeof setInterval> | undefined;
  const pingAll = () => {
    for (const socket of sockets) socket.ping();
  };
  server.on("close", () => clearInterval(pinger));
  const webSocketServer = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.maxFrameBytes,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: Math.max(MIN_CHUNKS, limits.maxFrameBytes / 64),
    autoPong: false,
    handleProtocols: (_offered, request) => chosenProtocols.get(request) ?? false,
  });

  server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    stream.on("error", () => {});
    const timer = setTimeout(() => stream.destroy(), decisionTimeout);
    const settle = () => {
      clearTimeout(timer);
      return pending.delete(stream);
    };
    const refuse = (status: number, headers: Readonly<Record<string, string>> = {}) => {
      if (settle()) refuseUpgrade(stream, status, headers);
    };
    pending.add(stream);
    stream.once("close", settle);
    if (!open || sockets.size >= maxSockets) return refuse(503, { "retry-after": "10" });
    handler(request, (onOpen, protocol) => {
      if (!settle()) return;
      if (protocol !== undefined) chosenProtocols.set(request, protocol);
      // ws answers an invalid handshake by itself and then never calls back.
      webSocketServer.handleUpgrade(request, stream, head, (webSocket) => {
        const connection = connections.under(stream);
        const socket = new AcceptedSocket(webSocket, connection, limits, onDrop);
        sockets.add(socket);
        pinger ??= setInterval(pingAll, pingInterval);
        webSocket.on("close", () => sockets.delete(socket));
        onOpen(socket);
      });
    }, refuse);
  });

  return {
    sockets,
    get size() {
      return sockets.size;
    },
    close(reason) {
      open = false;
      for (const socket of sockets) socket.close(GOING_AWAY, reason);
      for (const stream of pending) stream.destroy();
    },
  };
}

/** Knows the TCP socket under each connection, which alone can be reset when TLS is on it. */
class Connections {
  readonly #byRemote = new Map<string, Socket>();

  constructor(server: Server) {
    server.on("connection", (socket: Socket) => {
      const remote = remoteOf(socket);
      this.#byRemote.set(remote, socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        if (this.#byRemote.get(remote) === socket) this.#byRemote.delete(remote);
      });
    });
  }

  under(stream: Duplex): Socket | Duplex {
    return this.#byRemote.get(remoteOf(stream)) ?? stream;
  }
}

function remoteOf(stream: Duplex): string {
  return stream instanceof Socket ? `${stream.remoteAddress} ${stream.remotePort}` : "";
}

/** Ends a connection at once, so that neither side keeps anything that waits in it. */
function reset(connection: Socket | Duplex): void {
  if ("resetAndDestroy" in connection) connection.resetAndDestroy();
  else connection.destroy();
}

function refuseUpgrade(
  stream: Duplex,
  status: number,
  headers: Readonly<Record<string, string>>,
): void {
  const lines = Object.entries({ ...headers, connection: "close", "content-length": "0" })
    .map(([name, value]) => `${name}: ${value}\r\n`);
  stream.once("finish", () => stream.destroy());
  stream.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`);
}

const utf8Decoder = new TextDecoder();

class AcceptedSocket extends WaitingSocket implements AcceptedWebSocket {
  onPing: () => void = ignore;
  readonly #webSocket: PeerWebSocket;
  readonly #connection: Socket | Duplex;
  readonly #limits: AcceptLimits;
  readonly #onDrop: (reason: DropReason) => void;
  readonly #left = () => this.#queued--;
  #queued = 0;
  #unansweredPings = 0;
  #dropReason: DropReason | undefined;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    webSocket: PeerWebSocket,
    connection: Socket | Duplex,
    limits: AcceptLimits,
    onDrop: (reason: DropReason) => void,
  ) {
    super();
    this.#webSocket = webSocket;
    this.#connection = connection;
    this.#limits = limits;
    this.#onDrop = onDrop;
    webSocket.on("message", (data: RawData, isBinary: boolean) => {
      this.#unansweredPings = 0;
      const bytes = plainBytes(data);
      if (isBinary) this.receiveFrame(bytes);
      else this.receiveText(utf8Decoder.decode(bytes));
    });
    webSocket.on("ping", (data) => {
      this.#unansweredPings = 0;
      this.onPing();
      if (!this.#isOpen()) return;
      this.#webSocket.pong(data, false, this.#left);
      this.#count();
    });
    webSocket.on("pong", () => this.#unansweredPings = 0);
    // A breach of RFC 6455; ws closes with the code for it.
    webSocket.on("error", (error) => {
      const isTooLarge = "code" in error && error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH";
      this.#noteDrop(isTooLarge ? "too large" : "broken frame");
      this.#expectClose();
    });
    webSocket.on("close", (code, reason) => {
      clearTimeout(this.#closeTimer);
      this.end({ code, reason: this.#dropReason ?? utf8Decoder.decode(reason) });
    });
  }

  /** With what each queued message costs beside its bytes, or many small ones would be free. */
  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount + this.#queued * QUEUED_OVERHEAD;
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen()) return;
    this.#webSocket.send(frame, BINARY, this.#left);
    this.#count();
  }

  sendText(text: string): void {
    if (!this.#isOpen()) return;
    this.#webSocket.send(text, TEXT, this.#left);
    this.#count();
  }

  #isOpen(): boolean {
    return this.#webSocket.readyState === this.#webSocket.OPEN;
  }

  #count(): void {
    this.#queued++;
    if (this.bufferedBytes > this.#limits.maxBufferedBytes) this.#drop("slow reader");
  }

  /** Asks for a sign of life, or ends what gave none after two such questions. */
  ping(): void {
    if (!this.#isOpen()) return;
    if (this.#unansweredPings >= 2) return this.#drop("no answer to pings");
    this.#unansweredPings++;
    this.#webSocket.ping(undefined, undefined, ignore);
  }

  close(code = NORMAL, reason = ""): void {
    this.#webSocket.close(code, shortReason(reason));
    this.#expectClose();
  }

  destroy(): void {
    reset(this.#connection);
  }

  #expectClose(): void {
    if (this.#webSocket.readyState === this.#webSocket.CLOSED) return;
    const { closeTimeout = 2_000 } = this.#limits;
    this.#closeTimer ??= setTimeout(() => reset(this.#connection), closeTimeout);
  }

  #drop(reason: DropReason): void {
    this.#noteDrop(reason);
    const { tooSlowCode } = this.#limits;
    if (tooSlowCode === undefined) reset(this.#connection);
    else this.close(tooSlowCode, reason);
  }

  #noteDrop(reason: DropReason): void {
    if (this.#dropReason !== undefined) return;
    this.#dropReason = reason;
    this.#onDrop(reason);
  }
}

const BINARY = { binary: true };
const TEXT = { binary: false };

function ignore(): void {}

/** A plain view: a Buffer's `slice` would be a view where a copy is meant. */
function plainBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) throw new TypeError("Fragments are joined before they are handed over");
  return data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
