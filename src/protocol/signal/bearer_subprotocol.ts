import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../base/bytes.ts";

/** Stands in front of a token in the list of subprotocols, for clients that set no headers. */
const PREFIX = "cairn.bearer.";

/** The subprotocol that carries `token`: `cairn.bearer.` and its UTF-8 in base64url. */
export function bearerSubprotocol(token: string): string {
  return PREFIX + toBase64Url(utf8(token));
}

/** The token in the first of `protocols` that carries one; `undefined` where none can be read. */
export function subprotocolToken(protocols: readonly string[]): string | undefined {
  const carrier = protocols.find((name) => name.startsWith(PREFIX));
  if (carrier === undefined) return undefined;
  try {
    return fromUtf8(fromBase64Url(carrier.slice(PREFIX.length)));
  } catch {
    return undefined;
  }
}
