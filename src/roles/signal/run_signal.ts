import { getLogger } from "@logtape/logtape";
import type { IncomingMessage, ServerResponse } from "node:http";
import { CairnError, ProtocolError } from "../../base/errors.ts";
import {
  decodeSignalFrame,
  encodeSignalFrame,
  MAX_SIGNAL_FRAME_LENGTH,
} from "../../protocol/signal/signal_frame.ts";
import { TopicRouter } from "../../protocol/signal/topic_router.ts";
import { listen, type ListenAddress, parseListenAddress } from "../http.ts";
import type { TextFrameSocket } from "../web_socket.ts";
import { acceptWebSockets, type WebSocketAcceptor } from "../web_socket_server.ts";
import { hasBearerToken } from "./bearer_token.ts";

const log = getLogger(["cairn", "signal"]);

const PROTOCOL = "cairn.signal.v1";
const POLICY_VIOLATION = 1008;

/** Bounds of one signaling server. */
export interface SignalLimits {
  readonly maxConnections: number;
  readonly topicsPerConnection: number;
  readonly connectionsPerTopic: number;
  /** Bytes that may wait for a slow reader; beyond, its connection is reset. */
  readonly maxBufferedBytes: number;
  /** Mistakes after which a connection is closed. */
  readonly errorBudget: number;
}

const LIMITS: SignalLimits = {
  maxConnections: 16_384,
  topicsPerConnection: 1_024,
  connectionsPerTopic: 256,
  maxBufferedBytes: 1_048_576,
  errorBudget: 16,
};

export interface SignalOptions {
  /** `host:port`, with an IPv6 address in brackets. */
  readonly listenAddr: string;
  /** Paths of PEM files; without them the server speaks plaintext. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** Any one of these must come as bearer token; with none, everybody is let in. */
  readonly authTokens: readonly string[];
  readonly limits?: Partial<SignalLimits>;
}

/** A signaling server that accepts connections. */
export interface RunningSignal {
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/**
 * Starts the WebSocket topic router. It keeps nothing but who listens to what.
 *
 * @throws {CairnError} when it cannot listen, or a token is empty.
 */
export async function startSignal(options: SignalOptions): Promise<RunningSignal> {
  const { listenAddr, tls, authTokens } = options;
  if (authTokens.includes("")) {
    throw new CairnError(
      "invalid-option",
      "An empty token would let everybody in: give --auth-token (CAIRN_SIGNAL_AUTH_TOKEN) a value",
    );
  }
  const limits = { ...LIMITS, ...options.limits };
  const switchboard = new Switchboard(limits);
  const isAuthorized = ({ headers }: IncomingMessage) =>
    authTokens.length === 0 || hasBearerToken(headers.authorization, authTokens);
  let sockets: WebSocketAcceptor | undefined;
  const listener = await listen({
    ...parseListenAddress(listenAddr),
    option: "--listen-addr (CAIRN_SIGNAL_LISTEN_ADDR)",
    ...(tls && { tls }),
    onRequest: (request, response) => answer(request, response, isAuthorized(request)),
    prepare: (server) => {
      sockets = acceptWebSockets({
        server,
        limits: {
          maxFrameBytes: MAX_SIGNAL_FRAME_LENGTH,
          maxBufferedBytes: limits.maxBufferedBytes,
          maxSockets: limits.maxConnections,
        },
        handler: (request, accept, refuse) => {
          if (!isAuthorized(request)) {
            log.debug("Refused a connection without a valid token");
            return refuse(401, { "www-authenticate": "Bearer" });
          }
          const offered = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
          const protocol = offered.includes(PROTOCOL) ? PROTOCOL : undefined;
          accept((socket) => switchboard.connect(socket), protocol);
        },
      });
    },
  });
  log.info("Signaling server listens on port {port}", { port: listener.address.port });
  if (authTokens.length === 0) log.info("No token is set: every client is let in");
  return {
    address: listener.address,
    close: () => {
      sockets?.close("going away");
      return listener.close();
    },
  };
}

/** Answers what is not an upgrade; a client whose handshake failed may ask here why. */
function answer(request: IncomingMessage, response: ServerResponse, isAuthorized: boolean): void {
  const isGet = request.method === "GET" || request.method === "HEAD";
  if (isGet && request.url === "/healthz") {
    response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
  } else if (!isAuthorized) {
    response.writeHead(401, { "www-authenticate": "Bearer" }).end();
  } else {
    response.writeHead(426, { "upgrade": "websocket" }).end("This is a WebSocket server\n");
  }
}

/** Lets frames flow between sockets. */
class Switchboard {
  readonly #router: TopicRouter<TextFrameSocket>;
  readonly #errorBudget: number;
  #lastNumber = 0;

  constructor(limits: SignalLimits) {
    this.#errorBudget = limits.errorBudget;
    this.#router = new TopicRouter({
      topicsPerListener: limits.topicsPerConnection,
      listenersPerTopic: limits.connectionsPerTopic,
    });
  }

  connect(socket: TextFrameSocket): void {
    const number = ++this.#lastNumber;
    let mistakes = 0;
    const mistake = (what: string) => {
      mistakes++;
      log.debug("Connection {number}: {what}", { number, what });
      if (mistakes === this.#errorBudget) socket.close(POLICY_VIOLATION, "too many errors");
    };
    log.debug("Connection {number} opened", { number });
    socket.onClose = ({ code, reason }) => {
      this.#router.remove(socket);
      log.debug("Connection {number} closed: {code} {reason}", { number, code, reason });
    };
    socket.onText = () => mistake("text message");
    socket.onFrame = (bytes) => {
      if (mistakes >= this.#errorBudget) return;
      try {
        this.#route(socket, bytes, mistake);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        mistake(error.message);
      }
    };
  }

  #route(socket: TextFrameSocket, bytes: Uint8Array, mistake: (what: string) => void): void {
    const frame = decodeSignalFrame(bytes);
    switch (frame.kind) {
      case "Subscribe": {
        const outcome = this.#router.subscribe(socket, frame.topic);
        if (outcome === "too-many-topics") mistake(outcome);
        else if (outcome === "topic-full") log.debug("A topic has no room for another listener");
        return;
      }
      case "Unsubscribe":
        return this.#router.unsubscribe(socket, frame.topic);
      case "Relay": {
        let encoded: Uint8Array | undefined;
        for (const listener of this.#router.relay(socket, frame.topic)) {
          listener.send(encoded ??= encodeSignalFrame(frame));
        }
      }
    }
  }
}
