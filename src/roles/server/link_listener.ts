import { MAX_FRAME_LENGTH } from "../../protocol/link/link.ts";
import { type HttpListener, listen, parseListenAddress } from "../http.ts";
import { addressKey, plainAddress } from "../signal/client_address.ts";
import { acceptWebSockets } from "../web_socket_server.ts";
import type { PeerLinks } from "./peer_links.ts";
import type { ServerOptions } from "./server_options.ts";

const LINK_PATH = "/link";
const LINK_PROTOCOL = "cairn.link.v1";
const MAX_BUFFERED = 8 * 1_048_576;

/** Listens where peers open links. @throws {CairnError} when the address cannot be had. */
export async function listenForLinks(
  options: ServerOptions,
  links: PeerLinks,
): Promise<HttpListener> {
  const { host, port } = parseListenAddress(options.listenAddr ?? "0.0.0.0:9091");
  return await listen({
    host,
    port,
    fd: options.listenFd,
    option: "--listen-addr (CAIRN_SERVER_LISTEN_ADDR)",
    ...(options.tls && { tls: options.tls }),
    prepare: (server) => acceptLinks(server, links),
  });
}

/** Lets peers open links at `/link` of a listener, which may serve other paths as well. */
export function acceptLinks(server: HttpListener["server"], links: PeerLinks): void {
  acceptWebSockets({
    server,
    limits: { maxFrameBytes: MAX_FRAME_LENGTH, maxBufferedBytes: MAX_BUFFERED },
    handler: (request, accept, refuse) => {
      if (request.url?.split("?")[0] !== LINK_PATH) return refuse(404);
      const offered = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
      // An IPv6 client has a whole /64 to come from.
      const source = addressKey(plainAddress(request.socket.remoteAddress ?? "") ?? "unknown");
      accept(
        (socket) => void links.accept(socket, source),
        offered.includes(LINK_PROTOCOL) ? LINK_PROTOCOL : undefined,
      );
    },
  });
}
