import { foldName, type LocalRecord, SERVICE } from "./local_record.ts";

/** Servers that are remembered, and how many of them one sender may have told of. */
const MAX_SERVERS = 64;
const MAX_PER_SENDER = 8;
const MAX_ADDRESSES = 8;
/** Seconds that one is remembered at most. */
const LONGEST_TTL = 120;
const INSTANCE = /^([0-9a-f]{40})\._cairn\._tcp\.local$/;

/** Whether an address, as text, may be dialed on the word of a stranger. */
export type AddressRule = (address: string) => boolean;

/** A server that somebody has told of. */
export interface FoundServer {
  readonly instance: string;
  /** Who has told of it. */
  readonly sender: string;
  /** WebSocket URLs, those of the sender itself first. */
  readonly urls: readonly string[];
}

interface Remembered {
  readonly server: FoundServer;
  readonly until: number;
}

/**
 * What the local network has told of servers. Nothing in it is proved: whoever shares the network
 * can say anything in anybody's name, so that what one sender says never takes the place of what
 * another has said, and one sender can fill only a part of it.
 */
export class FoundServers {
  readonly #servers = new Map<string, Remembered>();

  /**
   * Takes the records of one response that `sender` sent; `now` is monotonic, in milliseconds.
   * Returns the servers that were not known, or not at that place.
   */
  take(
    records: readonly LocalRecord[],
    sender: string,
    isAllowed: AddressRule,
    now: number,
  ): FoundServer[] {
    this.#forgetOld(now);
    const news: FoundServer[] = [];
    for (const record of records) {
      if (record.type !== "PTR" || foldName(record.name) !== SERVICE) continue;
      const target = foldName(record.target);
      const instance = INSTANCE.exec(target)?.[1];
      if (instance === undefined) continue;
      const key = `${sender} ${instance}`;
      const location = locate(target, records, sender, isAllowed);
      const ttl = Math.min(record.ttl, location.ttl, LONGEST_TTL);
      if (record.ttl === 0) this.#servers.delete(key);
      if (ttl <= 0 || location.urls.length === 0) continue;
      const before = this.#servers.get(key);
      if (!before && !this.#hasRoomFor(sender)) continue;
      const server = { instance, sender, urls: location.urls };
      this.#servers.set(key, { server, until: now + ttl * 1000 });
      if (before?.server.urls.join() !== location.urls.join()) news.push(server);
    }
    return news;
  }

  /** What is remembered. */
  list(now: number): FoundServer[] {
    this.#forgetOld(now);
    return [...this.#servers.values()].map(({ server }) => server);
  }

  #forgetOld(now: number): void {
    for (const [key, { until }] of this.#servers) if (until <= now) this.#servers.delete(key);
  }

  #hasRoomFor(sender: string): boolean {
    const all = [...this.#servers.values()];
    return all.length < MAX_SERVERS &&
      all.filter(({ server }) => server.sender === sender).length < MAX_PER_SENDER;
  }
}

/** Where an instance is, by the other records of the same message. */
function locate(
  instance: string,
  records: readonly LocalRecord[],
  sender: string,
  isAllowed: AddressRule,
): { readonly urls: readonly string[]; readonly ttl: number } {
  const isAbout = ({ name }: LocalRecord, wanted: string) => foldName(name) === foldName(wanted);
  const srv = records.find((record) => record.type === "SRV" && isAbout(record, instance));
  if (srv?.type !== "SRV" || srv.port === 0) return { urls: [], ttl: 0 };
  const tls = records.some((record) =>
    record.type === "TXT" && isAbout(record, instance) && record.entries.includes("tls=1")
  );
  const addresses = records.flatMap((record) =>
    (record.type === "A" || record.type === "AAAA") && isAbout(record, srv.target) &&
      record.ttl > 0 && isAllowed(record.address)
      ? [record.address]
      : []
  ).slice(0, MAX_ADDRESSES);
  const isOwn = (address: string) => address === sender ? 0 : 1;
  const urls = [...new Set(addresses)]
    .toSorted((one, other) => isOwn(one) - isOwn(other))
    .map((address) => {
      const host = address.includes(":") ? `[${address}]` : address;
      return `${tls ? "wss" : "ws"}://${host}:${srv.port}/link`;
    });
  return { urls, ttl: srv.ttl };
}
