import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { type FoundServer, FoundServers } from "../../protocol/mdns/found_servers.ts";
import { isInstanceOf } from "../../protocol/mdns/instance_name.ts";
import { isLocalAddress } from "../../protocol/mdns/local_network.ts";
import { type LocalMessage, SERVICE } from "../../protocol/mdns/local_record.ts";
import type { Sender } from "../../protocol/mdns/responder.ts";
import { encodeDnsQuery } from "./dns_message.ts";
import type { LocalSearch } from "./local_look.ts";
import { type LocalChannel, type Multicast, openMulticast } from "./multicast.ts";

/** Milliseconds before the first query, which leaves not together with those of others. */
const FIRST_DELAY = { least: 20, spread: 100 } as const;
/** Milliseconds between two queries, each time twice as long. */
const INTERVAL = 1_000;
const LONGEST_INTERVAL = 60_000;
/** URLs that one look is told of, and how many of them one sender may name. */
const MAX_URLS = 4;
const MAX_URLS_OF_SENDER = 2;
/** Milliseconds between two times that news of one server are passed on. */
const NEWS_INTERVAL = 5_000;

interface Look {
  readonly server: PeerId | undefined;
  readonly onUrl: (url: string) => void;
  /** Each URL, and who has named it first. */
  readonly told: Map<string, string>;
}

interface Watch {
  readonly server: PeerId;
  readonly onNews: () => void;
  lastNews: number;
}

/**
 * Finds servers on the networks around this machine. It says nothing on them until somebody looks,
 * and asks ever more rarely; what it has heard once it remembers for as long as it may.
 */
export class ServerFinder implements LocalSearch {
  readonly #host: Host;
  readonly #open: typeof openMulticast;
  readonly #found = new FoundServers();
  readonly #looks = new Set<Look>();
  readonly #watches = new Set<Watch>();
  #multicast: Multicast | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #interval = 0;
  #askAt = -Infinity;
  #isClosed = false;

  constructor(host: Host, open = openMulticast) {
    this.#host = host;
    this.#open = open;
  }

  look(server: PeerId | undefined, onUrl: (url: string) => void): () => void {
    if (this.#isClosed) return () => {};
    const look = { server, onUrl, told: new Map<string, string>() };
    this.#looks.add(look);
    this.#multicast ??= this.#open({
      onMessage: (message, sender, channel) => this.#take(message, sender, channel),
      onChannel: (channel) => this.#looks.size > 0 && this.#ask([channel]),
    }, this.#host);
    // Whoever floods the network with answers is not to be first every time.
    for (const found of this.#shuffled()) this.#tell(look, found);
    this.#askLater(this.#isWatched(server));
    return () => this.#looks.delete(look);
  }

  watch(server: PeerId, onNews: () => void): () => void {
    const watch = { server, onNews, lastNews: -Infinity };
    this.#watches.add(watch);
    return () => this.#watches.delete(watch);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#looks.clear();
    this.#watches.clear();
    clearTimeout(this.#timer);
    await this.#multicast?.[Symbol.asyncDispose]();
  }

  #take(message: LocalMessage, sender: Sender, channel: LocalChannel): void {
    if (!message.isResponse) return;
    const { networks } = channel.interface;
    const now = this.#host.monotonic();
    const isAllowed = (address: string) => isLocalAddress(address, networks);
    for (const found of this.#found.take(message.records, sender.address, isAllowed, now)) {
      for (const look of this.#looks) this.#tell(look, found);
      for (const watch of this.#watches) {
        const isTimely = now - watch.lastNews >= NEWS_INTERVAL;
        if (!isTimely || !isInstanceOf(watch.server, found.instance)) continue;
        watch.lastNews = now;
        watch.onNews();
      }
    }
  }

  #tell({ server, onUrl, told }: Look, { instance, sender, urls }: FoundServer): void {
    if (server && !isInstanceOf(server, instance)) return;
    for (const url of urls) {
      const ofSender = [...told.values()].filter((other) => other === sender).length;
      if (told.size >= MAX_URLS || ofSender >= MAX_URLS_OF_SENDER) return;
      if (told.has(url)) continue;
      told.set(url, sender);
      onUrl(url);
    }
  }

  #shuffled(): FoundServer[] {
    return this.#found.list(this.#host.monotonic())
      .map((found) => ({ found, order: this.#host.random(2).join() }))
      .toSorted((one, other) => one.order < other.order ? -1 : 1)
      .map(({ found }) => found);
  }

  /** A server that is watched is looked for again and again; for any other somebody waits. */
  #isWatched(server: PeerId | undefined): boolean {
    return server !== undefined &&
      [...this.#watches].some((watch) => watch.server.equals(server));
  }

  #askLater(hasTime = true): void {
    const now = this.#host.monotonic();
    const isFar = !hasTime && this.#askAt > now + INTERVAL;
    if (isFar || now > this.#askAt + LONGEST_INTERVAL) {
      const { least, spread } = FIRST_DELAY;
      this.#interval = INTERVAL;
      this.#askAt = now + least + spread * this.#host.random(1)[0]! / 256;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#looks.size === 0) return;
      this.#ask(this.#multicast?.channels ?? []);
      this.#askAt = this.#host.monotonic() + this.#interval;
      this.#interval = Math.min(2 * this.#interval, LONGEST_INTERVAL);
      this.#askLater();
    }, Math.max(0, this.#askAt - now));
  }

  #ask(channels: readonly LocalChannel[]): void {
    const query = encodeDnsQuery(SERVICE, "PTR");
    for (const channel of channels) void channel.send(query);
  }
}
