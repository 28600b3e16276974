import type { Socket } from "node:net";
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from "node:tls";
import { pem, readCertificate } from "../certified_pair.ts";
import {
  acceptConnections,
  type Acceptor,
  type HttpListener,
  type ListenAddress,
} from "../http.ts";
import type { StreamConnection, StreamConnections } from "./stream_connections.ts";

/** The application protocol of TURN over TLS (RFC 7443). */
const ALPN = "stun.turn";

/** An address on which clients are listened to over TCP or TLS. */
export type StreamListener = Acceptor & Pick<HttpListener, "certificate" | "reloadCertificate">;

export interface StreamListenerOptions extends ListenAddress {
  /** The option to name when the address cannot be used. */
  readonly option: string;
  readonly connections: StreamConnections;
  /** Milliseconds within which a deaf listener is noticed. */
  readonly checkInterval: number;
}

/** @throws {CairnError} when the address cannot be listened on. */
export async function listenTcp(options: StreamListenerOptions): Promise<StreamListener> {
  const { connections } = options;
  const acceptor = await acceptConnections({
    ...options,
    onConnection: (socket) => connections.accept(socket, "tcp")?.start(socket),
  });
  return { ...acceptor, certificate: undefined, reloadCertificate() {} };
}

/** @throws {CairnError} also when the certificate is unusable. */
export async function listenTls(
  options: StreamListenerOptions & {
    readonly tls: { readonly certPath: string; readonly keyPath: string };
  },
): Promise<StreamListener> {
  const { connections, tls } = options;
  let pair = readCertificate(tls);
  const server = createTlsServer({ ...pem(pair), ALPNProtocols: [ALPN] });
  const acceptor = await acceptConnections({
    ...options,
    onConnection: acceptTls(server, connections),
  });
  return {
    ...acceptor,
    get certificate() {
      return pair.certificate;
    },
    reloadCertificate() {
      const next = readCertificate(tls);
      server.setSecureContext(pem(next));
      pair = next;
    },
  };
}

/** Takes a TCP connection for `server` to shake hands on. */
function acceptTls(server: TlsServer, connections: StreamConnections): (socket: Socket) => void {
  /** Connections whose handshake is under way, by their other end. */
  const shaking = new Map<string, StreamConnection>();
  server.on("secureConnection", (socket: TLSSocket) => {
    const connection = shaking.get(otherEnd(socket));
    if (connection === undefined) return void socket.destroy();
    connection.start(socket);
  });
  server.on("tlsClientError", (_error: Error, socket: TLSSocket) => socket.destroy());
  return (socket) => {
    const key = otherEnd(socket);
    const connection = connections.accept(socket, "tls");
    if (connection === undefined) return;
    shaking.set(key, connection);
    socket.on("close", () => shaking.delete(key));
    server.emit("connection", socket);
  };
}

function otherEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
