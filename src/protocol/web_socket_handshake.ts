/** The opening handshake of RFC 6455 (section 4.2), as a server reads and answers it. */

/** Names are in lower case; a name that came several times has its values behind commas. */
export interface RequestHeaders {
  readonly [name: string]: string | readonly string[] | undefined;
  readonly authorization?: string | undefined;
  readonly origin?: string | undefined;
  readonly "sec-websocket-key"?: string | undefined;
  readonly "sec-websocket-protocol"?: string | undefined;
  readonly "sec-websocket-version"?: string | undefined;
}

/** What a request for an upgrade says. */
export interface UpgradeHead {
  /** The request target, as it came. */
  readonly url: string;
  readonly headers: RequestHeaders;
}

const REQUEST_LINE = /^GET ([\x21-\x7e]+) HTTP\/1\.1$/;
/** RFC 9110, 5.5. */
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~\w]+):([\t\x20-\x7e\x80-\xff]*)$/;
const KEY = /^[+/\dA-Za-z]{22}==$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/;
const VERSION = "13";
const MAX_FIELDS = 100;

/**
 * Reads the plain form of the request by which a client asks for a WebSocket: the text in front of
 * the empty line, a character for each byte. `undefined` for everything else, whether it is another
 * request or none at all: those are for a complete HTTP parser to judge.
 */
export function parseUpgradeHead(text: string): UpgradeHead | undefined {
  const [requestLine = "", ...lines] = text.split("\r\n");
  const url = REQUEST_LINE.exec(requestLine)?.[1];
  if (url === undefined || lines.length > MAX_FIELDS) return undefined;
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const [, name, value = ""] = FIELD_LINE.exec(line) ?? [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    const former = headers[key];
    if (former !== undefined && key === "host") return undefined;
    headers[key] = former === undefined ? value.trim() : `${former}, ${value.trim()}`;
  }
  const hasBody = "content-length" in headers || "transfer-encoding" in headers;
  return !hasBody && "host" in headers && asksForWebSocket(headers) ? { url, headers } : undefined;
}

function asksForWebSocket({ upgrade = "", connection = "" }: Record<string, string>): boolean {
  return upgrade.toLowerCase() === "websocket" && /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(connection);
}

/** A handshake that may be completed. */
export interface ValidHandshake {
  readonly key: string;
  /** The subprotocols that the client offers, in its order. */
  readonly offered: readonly string[];
}

/** Checks what the client must send (4.2.1); `undefined` calls for status 400. */
export function checkHandshake(headers: RequestHeaders): ValidHandshake | undefined {
  const key = headers["sec-websocket-key"];
  if (headers["sec-websocket-version"] !== VERSION) return undefined;
  if (key === undefined || !KEY.test(key)) return undefined;
  const offered = headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  return offered.every((name) => TOKEN.test(name)) ? { key, offered } : undefined;
}

/** Sent with a refusal, so that a client of another version knows which to use (4.4). */
export const SUPPORTED_VERSION = { "sec-websocket-version": VERSION };

/** To be hashed by SHA-1 behind the client's key, for `Sec-WebSocket-Accept`. */
export const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Completes the handshake; `accept` is base64, `protocol` one of those offered, if any. */
export function switchingProtocols(accept: string, protocol: string | undefined): string {
  const chosen = protocol === undefined ? "" : `Sec-WebSocket-Protocol: ${protocol}\r\n`;
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\n${chosen}\r\n`;
}
