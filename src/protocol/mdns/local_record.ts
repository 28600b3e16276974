/** DNS records as far as DNS-based service discovery needs them (RFC 6763). */

/** One record; `name` and `target` are names without a dot at the end. */
export type LocalRecord =
  & { readonly name: string; /** Seconds. */ readonly ttl: number }
  & (
    | { readonly type: "PTR"; readonly target: string }
    | { readonly type: "SRV"; readonly target: string; readonly port: number }
    | { readonly type: "TXT"; readonly entries: readonly string[] }
    | { readonly type: "A" | "AAAA"; readonly address: string }
  );

/** What a query asks for. */
export interface Question {
  readonly name: string;
  /** As in `PTR`, or `ANY`. */
  readonly type: string;
  /** The answer may come to the asker alone (RFC 6762 section 5.4). */
  readonly isUnicast: boolean;
}

/** A message that came. */
export interface LocalMessage {
  readonly id: number;
  readonly isResponse: boolean;
  /** More of its known answers are to follow (RFC 6762 section 7.2). */
  readonly isTruncated: boolean;
  readonly questions: readonly Question[];
  /** All records of a response; the known answers of a query. */
  readonly records: readonly LocalRecord[];
}

/** The service under which servers are found, and the list of all services of a network. */
export const SERVICE = "_cairn._tcp.local";
export const ALL_SERVICES = "_services._dns-sd._udp.local";

/** A server as it is announced on one network. */
export interface LocalService {
  /** What {@linkcode instanceName} made. */
  readonly instance: string;
  readonly port: number;
  readonly tls: boolean;
  /** Addresses on that network, as text. */
  readonly addresses: readonly string[];
}

/** Seconds that others may keep a record: RFC 6762 section 10. */
const HOST_TTL = 120;
const SERVICE_TTL = 4_500;

/** All records of a service; with `ttl` 0 they say goodbye. */
export function recordsOf(service: LocalService, ttl?: number): LocalRecord[] {
  const name = `${service.instance}.${SERVICE}`;
  const host = `${service.instance}.local`;
  return [
    { type: "PTR", name: ALL_SERVICES, ttl: ttl ?? SERVICE_TTL, target: SERVICE },
    { type: "PTR", name: SERVICE, ttl: ttl ?? SERVICE_TTL, target: name },
    { type: "SRV", name, ttl: ttl ?? HOST_TTL, target: host, port: service.port },
    { type: "TXT", name, ttl: ttl ?? SERVICE_TTL, entries: service.tls ? ["tls=1"] : [] },
    ...service.addresses.map((address): LocalRecord => ({
      type: address.includes(":") ? "AAAA" : "A",
      name: host,
      ttl: ttl ?? HOST_TTL,
      address,
    })),
  ];
}

/** Whether others may have records of the same name and type: lists have, hosts have not. */
export function isShared({ type }: LocalRecord): boolean {
  return type === "PTR";
}

/** A name in the one form in which names are compared (RFC 6762 section 16). */
export function foldName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** The same for all records that say the same thing, for however long. */
export function recordKey(record: LocalRecord): string {
  const said = record.type === "PTR"
    ? foldName(record.target)
    : record.type === "SRV"
    ? `${foldName(record.target)} ${record.port}`
    : record.type === "TXT"
    ? record.entries.join("\0")
    : record.address;
  return `${record.type} ${foldName(record.name)} ${said}`;
}
