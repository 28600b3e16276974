import { equalSecret, fromBase64Url, fromUtf8, utf8 } from "../../base/bytes.ts";
import type { RequestHeaders } from "../../protocol/web_socket_handshake.ts";

/** Stands in front of the token in the list of subprotocols, for clients that set no headers. */
const SUBPROTOCOL = "cairn.bearer.";

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
  const carrier = offeredProtocols(request).find((name) => name.startsWith(SUBPROTOCOL));
  if (carrier !== undefined) return decodeToken(carrier.slice(SUBPROTOCOL.length));
  if (!allowQuery) return undefined;
  return URL.parse(request.url ?? "", "ws://host")?.searchParams.get("access_token") ?? undefined;
}

/** Whether `given` is one of `tokens`: all are compared, and only lengths may show in the time. */
export function isOneOf(tokens: readonly string[], given: string | undefined): boolean {
  if (given === undefined) return false;
  const bytes = utf8(given);
  return tokens.filter((token) => equalSecret(bytes, utf8(token))).length > 0;
}

function decodeToken(text: string): string | undefined {
  try {
    return fromUtf8(fromBase64Url(text));
  } catch {
    return undefined;
  }
}
