import { readFileSync } from "node:fs";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import { CairnError } from "../base/errors.ts";

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

/**
 * Starts an HTTP server, over TLS if `tls` is given.
 *
 * @throws {CairnError} `address-in-use`, `certificate-unreadable`, or `invalid-option` when the
 * address cannot be listened on.
 */
export async function listen(options: ListenOptions): Promise<HttpListener> {
  const { host, port, tls, prepare } = options;
  const onRequest = options.onRequest ?? answerNotFound;
  const { handshakeTimeout = TIMEOUTS.handshakeTimeout } = options;
  const timeouts = { ...TIMEOUTS, handshakeTimeout, headersTimeout: handshakeTimeout };
  timeouts.requestTimeout = Math.max(timeouts.requestTimeout, handshakeTimeout);
  let pair = tls && readCertificate(tls);
  const tlsServer: TlsServer | undefined = pair &&
    createTlsServer({ ...timeouts, ...pem(pair) }, onRequest);
  const server = tlsServer ?? createServer(timeouts, onRequest);
  const connections = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => connections.delete(socket));
  });
  // Without this listener the offender would be answered; silence is enough for what is not HTTP.
  server.on("clientError", (_error, socket) => socket.destroy());
  prepare?.(server);
  const bound = await bind(server, options);
  let closing: Promise<void> | undefined;
  return {
    server,
    address: bound ?? { host, port },
    get certificate() {
      return pair?.certificate;
    },
    reloadCertificate() {
      if (!tls || !tlsServer) return;
      const next = readCertificate(tls);
      tlsServer.setSecureContext(pem(next));
      pair = next;
    },
    close: () => closing ??= closeServer(server, connections),
  };
}

/**
 * Lets a server of any protocol listen; the address is the real one when port 0 was asked for.
 *
 * @throws {CairnError} as {@linkcode listen} does.
 */
export function bind(
  server: NetServer,
  options: Pick<ListenOptions, "host" | "port" | "option">,
): Promise<ListenAddress | undefined> {
  const { host, port } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, options));
    server.once("error", fail);
    server.listen({ host, port, backlog: BACKLOG }, () => {
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

function closeServer(server: Server, connections: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      for (const socket of [...connections]) socket.resetAndDestroy();
    }, CLOSE_GRACE);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
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

/** A certificate chain and its private key, both PEM. */
export interface CertifiedPair {
  readonly cert: string;
  readonly key: string;
  readonly certificate: X509Certificate;
}

/** What `setSecureContext` takes of it. */
export function pem({ cert, key }: CertifiedPair): { cert: string; key: string } {
  return { cert, key };
}

/** @throws {CairnError} `certificate-unreadable`. */
export function readCertificate(tls: { certPath: string; keyPath: string }): CertifiedPair {
  const cert = readPem(tls.certPath, "certificate");
  const key = readPem(tls.keyPath, "private key");
  const certificate = parsePem(tls.certPath, "a PEM certificate", () => new X509Certificate(cert));
  const privateKey = parsePem(
    tls.keyPath,
    "a PEM private key without a password",
    () => createPrivateKey(key),
  );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "certificate-unreadable",
      `The private key ${tls.keyPath} does not belong to the certificate ${tls.certPath}: give ` +
        "the pair that was issued together",
    );
  }
  return { cert, key, certificate };
}

function readPem(path: string, content: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? ` (${cause.code})` : "";
    throw new CairnError(
      "certificate-unreadable",
      `Cannot read the ${content} file ${path}${code}: check the path and its permissions`,
      { cause },
    );
  }
}

function parsePem<Parsed>(path: string, content: string, parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (cause) {
    throw new CairnError(
      "certificate-unreadable",
      `The file ${path} does not hold ${content}: give another file`,
      { cause },
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
