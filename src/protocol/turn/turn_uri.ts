/** Where a relay is: `turn:` and `turns:` URIs (RFC 7065). */

/** Over `tls` the URI's scheme is `turns`. */
export type TurnTransport = "udp" | "tcp" | "tls";

export interface TurnUri {
  /** A name or an IP address, the latter without brackets. */
  readonly host: string;
  readonly port: number;
  readonly transport: TurnTransport;
}

const DEFAULT_PORT = 3_478;
const DEFAULT_TLS_PORT = 5_349;
const MAX_PORT = 65_535;
const URI =
  /^(?<scheme>turns?):(?:\[(?<v6>[0-9a-f:.]+)\]|(?<host>[^\s:[\]/?@]+))(?::(?<port>\d{1,5}))?(?:\?transport=(?<transport>udp|tcp))?$/i;

/**
 * Reads a URI. `undefined` on anything else, also `turns:` over UDP, which would be DTLS: nothing
 * here speaks it.
 */
export function parseTurnUri(text: string): TurnUri | undefined {
  const parts = URI.exec(text)?.groups;
  const host = parts?.v6 ?? parts?.host;
  if (parts === undefined || host === undefined) return undefined;
  const isSecure = parts.scheme?.toLowerCase() === "turns";
  const port = Number(parts.port ?? (isSecure ? DEFAULT_TLS_PORT : DEFAULT_PORT));
  if (port < 1 || port > MAX_PORT) return undefined;
  const isUdp = (parts.transport?.toLowerCase() ?? (isSecure ? "tcp" : "udp")) === "udp";
  if (isSecure) return isUdp ? undefined : { host, port, transport: "tls" };
  return { host, port, transport: isUdp ? "udp" : "tcp" };
}
