import { getLogger } from "@logtape/logtape";
import { formatIp, parseIp } from "../../base/address.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { instanceName, NONCE_LENGTH } from "../../protocol/mdns/instance_name.ts";
import { isLocalAddress } from "../../protocol/mdns/local_network.ts";
import { type LocalMessage, recordsOf } from "../../protocol/mdns/local_record.ts";
import { Responder, type Sender } from "../../protocol/mdns/responder.ts";
import { encodeDnsReply } from "./dns_message.ts";
import type { LocalInterface } from "./local_interface.ts";
import {
  type LocalChannel,
  type Multicast,
  type OpenMulticast,
  openMulticast,
} from "./multicast.ts";

const log = getLogger(["cairn", "mdns"]);

/** Milliseconds; an announcement is sent twice and once more (RFC 6762 section 8.3). */
const ANNOUNCE_AFTER = [0, 1_000, 3_000] as const;
/** Milliseconds after which the server takes another name, so that nobody follows it for long. */
const RENAME_INTERVAL = 86_400_000;

/** What is announced. */
export interface AnnouncerOptions {
  readonly server: PeerId;
  /** Where links are accepted; a wildcard stands for all of the machine's addresses. */
  readonly listener: { readonly host: string; readonly port: number; readonly tls: boolean };
  readonly host: Host;
  readonly open?: OpenMulticast;
}

/** Makes a server known on the networks around it, and takes that back at the end. */
export class Announcer implements AsyncDisposable {
  readonly #options: AnnouncerOptions;
  readonly #multicast: Multicast;
  readonly #responders = new Map<LocalChannel, Responder>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #renaming: ReturnType<typeof setInterval>;
  #instance: string;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#instance = this.#makeName();
    const { open = openMulticast, host } = options;
    this.#multicast = open({
      onMessage: (message, sender, channel) => this.#take(message, sender, channel),
      onChannel: (channel) => this.#join(channel),
    }, host);
    void this.#multicast.opened.then(() => {
      if (this.#responders.size > 0) return;
      log.info(
        "The server is not announced by mDNS: no network on which it listens has multicast",
      );
    });
    this.#renaming = setInterval(() => this.#rename(), RENAME_INTERVAL);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renaming);
    // Channels that were on their way begin announcements of their own.
    await this.#multicast.opened;
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#sayGoodbye();
    await this.#multicast[Symbol.asyncDispose]();
  }

  #makeName(): string {
    return instanceName(this.#options.server, this.#options.host.random(NONCE_LENGTH));
  }

  /** RFC 6762 section 8.1 asks to probe for the name first, unless it is known to be nobody's. */
  #join(channel: LocalChannel): void {
    for (const known of this.#responders.keys()) {
      if (!this.#multicast.channels.includes(known)) this.#responders.delete(known);
    }
    const addresses = this.#addresses(channel.interface);
    if (addresses.length === 0) return;
    const { name } = channel.interface;
    const isTold = [...this.#responders.keys()].some((other) => other.interface.name === name);
    const responder = new Responder();
    this.#responders.set(channel, responder);
    this.#fill(channel, responder);
    if (isTold) return;
    log.info("The server is announced on {name} at {addresses}", {
      name,
      addresses: addresses.join(", "),
    });
  }

  #rename(): void {
    void this.#sayGoodbye();
    this.#instance = this.#makeName();
    for (const [channel, responder] of this.#responders) this.#fill(channel, responder);
  }

  #fill(channel: LocalChannel, responder: Responder): void {
    const records = this.#records(channel);
    responder.records = records;
    for (const delay of ANNOUNCE_AFTER) {
      this.#later(delay, () => {
        void channel.send(encodeDnsReply({ to: undefined, answers: records, additionals: [] }));
        responder.announced(this.#options.host.monotonic());
      });
    }
  }

  async #sayGoodbye(): Promise<void> {
    await Promise.all([...this.#responders.keys()].map((channel) => {
      const answers = this.#records(channel, 0);
      return channel.send(encodeDnsReply({ to: undefined, answers, additionals: [] }));
    }));
  }

  #records(channel: LocalChannel, ttl?: number) {
    const { listener: { port, tls } } = this.#options;
    const addresses = this.#addresses(channel.interface);
    const service = { instance: this.#instance, port, tls, addresses };
    // The list of all services goes to who asks for it.
    const records = recordsOf(service, ttl);
    return ttl === undefined ? records : records.slice(1);
  }

  /** The addresses of the interface at which links are accepted. */
  #addresses({ networks }: LocalInterface): string[] {
    const listening = parseIp(this.#options.listener.host);
    if (!listening) return [];
    const isWildcard = listening.every((byte) => byte === 0);
    const accepts = ({ address }: LocalInterface["networks"][number]) =>
      isWildcard
        ? listening.length === 16 || address.length === 4
        : formatIp(address) === formatIp(listening);
    return networks.filter(accepts)
      .map(({ address }) => formatIp(address))
      .filter((address) => isLocalAddress(address, networks));
  }

  #take(message: LocalMessage, sender: Sender, channel: LocalChannel): void {
    const responder = this.#responders.get(channel);
    if (!responder || message.isResponse) return;
    const { host } = this.#options;
    const now = host.monotonic();
    responder.take(message, sender, now, host.random(1)[0]! / 256);
    const { due } = responder;
    // A timer may be early by a part of a millisecond.
    if (due !== undefined) this.#later(Math.ceil(due - now) + 1, () => this.#answer(channel));
  }

  #answer(channel: LocalChannel): void {
    const replies = this.#responders.get(channel)?.replies(this.#options.host.monotonic()) ?? [];
    for (const reply of replies) void channel.send(encodeDnsReply(reply), reply.to);
  }

  #later(delay: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delay);
    this.#timers.add(timer);
  }
}
