import { createServer, type Server, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from "node:tls";
import { bind, type HttpListener, type ListenAddress, pem, readCertificate } from "../http.ts";
import { AcceptWatch } from "./accept_watch.ts";
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
  /** The option to name when the address cannot be used. */
  readonly option: string;
  readonly connections: StreamConnections;
  /** Milliseconds within which a deaf listener is noticed. */
  readonly checkInterval: number;
}

/** @throws {CairnError} when the address cannot be listened on. */
export async function listenTcp(options: StreamListenerOptions): Promise<StreamListener> {
  const { connections } = options;
  const listener = await keepListening(options, (onAccepted) =>
    createServer((socket: Socket) => {
      onAccepted();
      connections.accept(socket, "tcp")?.start(socket);
    }));
  return { ...listener, certificate: undefined, reloadCertificate() {} };
}

/** @throws {CairnError} also when the certificate is unusable. */
export async function listenTls(
  options: StreamListenerOptions & {
    readonly tls: { readonly certPath: string; readonly keyPath: string };
  },
): Promise<StreamListener> {
  const { connections, tls } = options;
  let pair = readCertificate(tls);
  let current: TlsServer;
  const listener = await keepListening(options, (onAccepted) => {
    current = createTlsServer({ ...pem(pair), ALPNProtocols: [ALPN] });
    acceptTls(current, connections, onAccepted);
    return current;
  });
  return {
    ...listener,
    get certificate() {
      return pair.certificate;
    },
    reloadCertificate() {
      const next = readCertificate(tls);
      current.setSecureContext(pem(next));
      pair = next;
    },
  };
}

function acceptTls(
  server: TlsServer,
  connections: StreamConnections,
  onAccepted: () => void,
): void {
  /** Connections whose handshake is under way, by their other end. */
  const shaking = new Map<string, StreamConnection>();
  server.on("connection", (socket: Socket) => {
    onAccepted();
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
}

/** Listens, and again with another server whenever the one at hand has gone deaf. */
async function keepListening(
  { host, port, option, checkInterval }: StreamListenerOptions,
  makeServer: (onAccepted: () => void) => Server,
): Promise<{ readonly address: ListenAddress; close(): void }> {
  let server: Server | undefined;
  const start = async (address: ListenAddress) => {
    server?.close();
    server = makeServer(() => watch.accepted());
    return await bind(server, { ...address, option }) ?? address;
  };
  const watch = new AcceptWatch({ interval: checkInterval, listenAgain: start });
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

function otherEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
