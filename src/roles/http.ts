import type { X509Certificate } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from "node:net";
import { CairnError } from "../base/errors.ts";
import { AcceptWatch } from "./accept_watch.ts";
import { pem, readCertificate } from "./certified_pair.ts";

/** A host name or IP address (IPv6 without brackets) and a port. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ListenOptions extends ListenAddress {
  /** Paths of PEM files: the certificate chain and its private key. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** The option to name when the address cannot be used. Default `--listen-addr`. */
  readonly option?: string;
  /** Answers requests; an upgrade is the business of whoever listens for it. */
  readonly onRequest?: RequestListener;
  /** Milliseconds for a TLS handshake, and again for the headers of a request. Default 10,000. */
  readonly handshakeTimeout?: number;
  /** Called with the server before the first connection can arrive. */
  readonly prepare?: (server: Server) => void;
  /** See {@linkcode AcceptOptions}. */
  readonly checkInterval?: number;
  readonly fd?: number | undefined;
  readonly isShared?: boolean | undefined;
}

/** A listening HTTP server. */
export interface HttpListener {
  readonly server: Server;
  /** Where it listens; the port is the real one when 0 was asked for. */
  readonly address: ListenAddress;
  /** The certificate that new connections get; `undefined` without TLS. */
  readonly certificate: X509Certificate | undefined;
  /**
   * Reads the files of `tls` again, for new connections; without TLS it does nothing.
   *
   * @throws {CairnError} `certificate-unreadable`; the former certificate stays in use.
   */
  reloadCertificate(): void;
  /** Stops listening; what has not ended after half a second is reset. */
  close(): Promise<void>;
}

const TIMEOUTS = {
  handshakeTimeout: 10_000,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 15_000,
  connectionsCheckingInterval: 2_000,
};
const CLOSE_GRACE = 500;
const BACKLOG = 4_096;
const CHECK_INTERVAL = 30_000;

/**
 * Starts an HTTP server, over TLS if `tls` is given.
 *
 * @throws {CairnError} `address-in-use`, `certificate-unreadable`, or `invalid-option` when the
 * address cannot be listened on.
 */
export async function listen(options: ListenOptions): Promise<HttpListener> {
  const { tls, prepare } = options;
  const onRequest = options.onRequest ?? answerNotFound;
  const { handshakeTimeout = TIMEOUTS.handshakeTimeout } = options;
  const timeouts = { ...TIMEOUTS, handshakeTimeout, headersTimeout: handshakeTimeout };
  timeouts.requestTimeout = Math.max(timeouts.requestTimeout, handshakeTimeout);
  let pair = tls && readCertificate(tls);
  const tlsServer: TlsServer | undefined = pair &&
    createTlsServer({ ...timeouts, ...pem(pair) }, onRequest);
  const server = tlsServer ?? createServer(timeouts, onRequest);
  // Without this listener the offender would be answered; silence is enough for what is not HTTP.
  server.on("clientError", (_error, socket) => socket.destroy());
  prepare?.(server);
  const connections = new Set<Socket>();
  const acceptor = await acceptConnections({
    ...options,
    allowHalfOpen: tlsServer === undefined,
    noDelay: true,
    onConnection(socket) {
      connections.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => connections.delete(socket));
      server.emit("connection", socket);
    },
  });
  let closing: Promise<void> | undefined;
  // It does not listen itself; believing that it does, it keeps connections alive and time limits.
  Object.defineProperty(server, "listening", { get: () => closing === undefined });
  server.emit("listening");
  return {
    server,
    address: acceptor.address,
    get certificate() {
      return pair?.certificate;
    },
    reloadCertificate() {
      if (!tls || !tlsServer) return;
      const next = readCertificate(tls);
      tlsServer.setSecureContext(pem(next));
      pair = next;
    },
    close() {
      acceptor.close();
      return closing ??= closeServer(server, connections);
    },
  };
}

export interface AcceptOptions extends ListenAddress {
  /** File descriptor of a socket that listens already, in place of the address. */
  readonly fd?: number | undefined;
  /** As in {@linkcode ListenOptions}. */
  readonly option?: string;
  /** Other threads listen on the same address, and the system spreads connections over all. */
  readonly isShared?: boolean | undefined;
  readonly allowHalfOpen?: boolean;
  readonly noDelay?: boolean;
  /**
   * Milliseconds of silence after which it is tried whether connections are still accepted; when
   * they are not, the address is listened on anew. Default 30,000.
   */
  readonly checkInterval?: number;
  readonly onConnection: (socket: Socket) => void;
}

/** What accepts TCP connections. */
export interface Acceptor {
  /** The port is the real one when 0 was asked for. */
  readonly address: ListenAddress;
  /** Stops listening; connections stay. */
  close(): void;
}

/**
 * Accepts connections for a server of any protocol, which knows nothing of listening and so stays
 * as it is, with all that are open, when the address has to be listened on anew.
 *
 * @throws {CairnError} as {@linkcode listen} does.
 */
export async function acceptConnections(options: AcceptOptions): Promise<Acceptor> {
  const { host, port, checkInterval = CHECK_INTERVAL, onConnection } = options;
  const { allowHalfOpen = false, noDelay = false } = options;
  let server: NetServer | undefined;
  const start = async (address: ListenAddress) => {
    server?.close();
    server = createNetServer(
      { allowHalfOpen, noDelay },
      (socket) => watch.accepted(socket, onConnection),
    );
    return await bind(server, { ...options, ...address }) ?? address;
  };
  const listenAgain = options.fd === undefined ? start : endWithSocket;
  const { isShared } = options;
  const watch = new AcceptWatch({ interval: checkInterval, listenAgain, isShared });
  const address = await start({ host, port });
  watch.start(address);
  return {
    address,
    close() {
      watch.close();
      server?.close();
    },
  };
}

/**
 * A socket that was handed to this process can be opened only once. Whoever keeps it open, and what
 * waits in it, starts the process again.
 */
function endWithSocket({ port }: ListenAddress): Promise<never> {
  const failure = new CairnError(
    "closed",
    `The inherited socket on port ${port} takes no connections any more; raise the limit of open ` +
      "files (LimitNOFILE)",
  );
  reportError(failure);
  return Promise.reject(failure);
}

/** Where `server` listens then. */
function bind(server: NetServer, options: AcceptOptions): Promise<ListenAddress | undefined> {
  const { host, port, fd, isShared } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, options));
    server.once("error", fail);
    const reusePort = isShared === true;
    server.listen(fd === undefined ? { host, port, backlog: BACKLOG, reusePort } : { fd }, () => {
      server.off("error", fail);
      const address: AddressInfo | string | null = server.address();
      resolve(
        address && typeof address === "object"
          ? { host: address.address, port: address.port }
          : undefined,
      );
    });
  });
}

/** Ends what an HTTP server has open, and then the server. */
async function closeServer(server: Server, connections: ReadonlySet<Socket>): Promise<void> {
  const ended = [...connections].map((socket) =>
    new Promise<void>((resolve) => socket.once("close", () => resolve()))
  );
  const timer = setTimeout(() => {
    for (const socket of [...connections]) socket.resetAndDestroy();
  }, CLOSE_GRACE);
  server.closeIdleConnections();
  await Promise.all(ended);
  clearTimeout(timer);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Why an address cannot be listened on, as one sentence. */
export function listenError(
  error: NodeJS.ErrnoException,
  options: Pick<ListenOptions, "host" | "port" | "option">,
): CairnError {
  const { option = "--listen-addr" } = options;
  const address = formatListenAddress(options);
  const cause = { cause: error };
  switch (error.code) {
    case "EADDRINUSE":
      return new CairnError(
        "address-in-use",
        `The address ${address} is already in use: stop the program that uses it, or choose ` +
          `another with ${option}`,
        cause,
      );
    case "EACCES":
      return new CairnError(
        "invalid-option",
        `The system does not allow this user to listen on ${address}: choose a port of 1024 or ` +
          `above with ${option}, or grant the right`,
        cause,
      );
    default:
      return new CairnError(
        "invalid-option",
        `Cannot listen on ${address} (${error.code ?? error.message}): choose an address of this ` +
          `machine with ${option}`,
        cause,
      );
  }
}

function answerNotFound(
  _request: Parameters<RequestListener>[0],
  response: Parameters<RequestListener>[1],
): void {
  response.writeHead(404, { "content-type": "text/plain" }).end("Not found\n");
}

const ADDRESS = /^(?:\[(?<v6>[0-9a-f:.]+(?:%[\w.-]+)?)\]|(?<host>[^\s:[\]/@]+)):(?<port>\d{1,5})$/i;

/**
 * Reads `host:port`, with an IPv6 address in brackets.
 *
 * @throws {CairnError} `invalid-option`.
 */
export function parseListenAddress(text: string): ListenAddress {
  const { v6, host = v6, port } = ADDRESS.exec(text)?.groups ?? {};
  if (host === undefined || Number(port) > 65_535) {
    throw new CairnError(
      "invalid-option",
      `"${text}" is not an address to listen on: write it as 127.0.0.1:8080 or [::1]:8080`,
    );
  }
  return { host, port: Number(port) };
}

/** The form that {@linkcode parseListenAddress} reads. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
