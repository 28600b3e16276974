import { createServer, type Server, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from "node:tls";
import { bind, type HttpListener, type ListenAddress, pem, readCertificate } from "../http.ts";
import type { StreamConnection, StreamConnections } from "./stream_connections.ts";

/** The application protocol of TURN over TLS (RFC 7443). */
const ALPN = "stun.turn";

/** An address on which clients are listened to over TCP or TLS. */
export interface StreamListener extends Pick<HttpListener, "certificate" | "reloadCertificate"> {
  readonly address: ListenAddress;
  /** Stops listening; connections stay. */
  close(): void;
}

export interface StreamListenerOptions extends ListenAddress {
  readonly option: string;
  readonly connections: StreamConnections;
}

/** @throws {CairnError} when the address cannot be listened on. */
export async function listenTcp(options: StreamListenerOptions): Promise<StreamListener> {
  const { connections } = options;
  const server = createServer((socket: Socket) => connections.accept(socket, "tcp")?.start(socket));
  return {
    address: await listenOn(server, options),
    certificate: undefined,
    reloadCertificate() {},
    close: () => server.close(),
  };
}

/** @throws {CairnError} also when the certificate is unusable. */
export async function listenTls(
  options: StreamListenerOptions & {
    readonly tls: { readonly certPath: string; readonly keyPath: string };
  },
): Promise<StreamListener> {
  const { connections, tls } = options;
  let pair = readCertificate(tls);
  const server: TlsServer = createTlsServer({ ...pem(pair), ALPNProtocols: [ALPN] });
  /** Connections whose handshake is under way, by their other end. */
  const shaking = new Map<string, StreamConnection>();
  server.on("connection", (socket: Socket) => {
    const key = otherEnd(socket);
    const connection = connections.accept(socket, "tls");
    if (connection === undefined) return;
    shaking.set(key, connection);
    socket.on("close", () => shaking.delete(key));
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    const connection = shaking.get(otherEnd(socket));
    if (connection === undefined) return void socket.destroy();
    connection.start(socket);
  });
  server.on("tlsClientError", (_error: Error, socket: TLSSocket) => socket.destroy());
  return {
    address: await listenOn(server, options),
    get certificate() {
      return pair.certificate;
    },
    reloadCertificate() {
      const next = readCertificate(tls);
      server.setSecureContext(pem(next));
      pair = next;
    },
    close: () => server.close(),
  };
}

async function listenOn(
  server: Server,
  { host, port, option }: StreamListenerOptions,
): Promise<ListenAddress> {
  const address = await bind(server, { host, port, option });
  // Running out of file descriptors fails a connection, not the relay.
  server.on("error", () => {});
  return address ?? { host, port };
}

function otherEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
