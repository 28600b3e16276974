import { equalSecret, utf8 } from "../../base/bytes.ts";
import { subprotocolToken } from "../../protocol/signal/bearer_subprotocol.ts";
import type { RequestHeaders } from "../../protocol/web_socket_handshake.ts";

/** What a WebSocket handshake says. */
export interface Handshake {
  readonly headers: RequestHeaders;
  readonly url?: string | undefined;
}

/** The subprotocols that a handshake offers. */
export function offeredProtocols({ headers }: Handshake): readonly string[] {
  return headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
}

/**
 * The token that came with a handshake: as bearer token in `Authorization` (RFC 6750, section 2.1),
 * else as subprotocol `cairn.bearer.<base64url>`, else, if allowed, as `?access_token=`.
 */
export function presentedToken(request: Handshake, allowQuery: boolean): string | undefined {
  const inHeader = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (inHeader !== undefined) return inHeader;
  const asSubprotocol = subprotocolToken(offeredProtocols(request));
  if (asSubprotocol !== undefined || !allowQuery) return asSubprotocol;
  return URL.parse(request.url ?? "", "ws://host")?.searchParams.get("access_token") ?? undefined;
}

/** Whether `given` is one of `tokens`: all are compared, and only lengths may show in the time. */
export function isOneOf(tokens: readonly string[], given: string | undefined): boolean {
  if (given === undefined) return false;
  const bytes = utf8(given);
  return tokens.filter((token) => equalSecret(bytes, utf8(token))).length > 0;
}
