import { AuthenticationFailed, CairnError, ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { initiateLink, type LinkConnection, type LinkContext } from "../link_connection.ts";
import { connectWebSocket } from "../web_socket.ts";

const DIAL_TIMEOUT = 10_000;
const LINK_PROTOCOL = "cairn.link.v1";

/** How a link is opened. */
export interface DialOptions {
  readonly signal: AbortSignal;
  /** Asked once, before the link counts; another one may have been first. */
  readonly nominate?: () => boolean;
  /**
   * The local network has named the address: no certificate can be asked to name it, too. The
   * handshake of the link proves who is there, with TLS or without.
   */
  readonly isFound?: boolean;
}

/** Dials a WebSocket URL and runs the handshake with the peer that must answer there, if known. */
export async function dialLink(
  url: string,
  expectedPeer: PeerId | undefined,
  context: LinkContext,
  options: DialOptions,
): Promise<LinkConnection> {
  const deadline = AbortSignal.any([options.signal, AbortSignal.timeout(DIAL_TIMEOUT)]);
  const socket = await connectWebSocket(linkUrl(url), {
    protocols: [LINK_PROTOCOL],
    signal: deadline,
    anyCertificate: options.isFound ?? false,
  });
  try {
    return await initiateLink(socket, context, { ...options, expectedPeer, signal: deadline });
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "wrong-peer") {
      throw new AuthenticationFailed(
        "refused",
        `Another peer than ${expectedPeer} answers at ${url}; check the address and the Peer ID`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** `ws://host:port` means the link path of that host. @throws {CairnError} `invalid-option`. */
export function linkUrl(text: string): string {
  const url = URL.parse(text);
  if (!url || (url.protocol !== "ws:" && url.protocol !== "wss:")) {
    throw new CairnError("invalid-option", `Not a WebSocket URL (ws:// or wss://): ${text}`);
  }
  if (url.pathname === "/") url.pathname = "/link";
  return url.href;
}
