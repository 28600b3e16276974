import { type Buffer } from "node:buffer";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { getLogger } from "@logtape/logtape";
import { parseIp, prefixHas } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import type { LocalMessage } from "../../protocol/mdns/local_record.ts";
import { MDNS_PORT, type Sender } from "../../protocol/mdns/responder.ts";
import { decodeDnsMessage } from "./dns_message.ts";
import { type LocalInterface, localInterfaces, networksOf } from "./local_interface.ts";

const log = getLogger(["cairn", "mdns"]);

const GROUPS = { 4: "224.0.0.251", 6: "ff02::fb" } as const;
/** Milliseconds between two looks at which interfaces there are. */
const LOOK_INTERVAL = 5_000;
/** Messages a second that are read, of all interfaces: a flood costs others their answer alone. */
const READ_RATE = { burst: 200, perSecond: 100 } as const;

/** One interface and address family on which messages are exchanged. */
export interface LocalChannel {
  readonly interface: LocalInterface;
  readonly family: AddressFamily;
  /** Sends to all, or to one; resolves when it has left. What cannot be sent is lost. */
  send(message: Uint8Array, to?: Sender): Promise<void>;
}

/** What {@linkcode Multicast} tells of. */
export interface MulticastEvents {
  readonly onMessage: (message: LocalMessage, sender: Sender, channel: LocalChannel) => void;
  /** A channel is there, at the start or because the interface has got other addresses. */
  readonly onChannel?: (channel: LocalChannel) => void;
}

/** Multicast DNS as those use it who announce and find. */
export interface Multicast extends AsyncDisposable {
  /** Resolves when the interfaces that are there have been tried. */
  readonly opened: Promise<void>;
  /** Where messages are exchanged. */
  readonly channels: readonly LocalChannel[];
}

/** Opens it. */
export type OpenMulticast = (events: MulticastEvents, host: Host) => Multicast;

/** On the interfaces that the system has. */
export const openMulticast: OpenMulticast = (events, host) => new LocalMulticast(events, host);

/** Multicast DNS on all interfaces of this machine, as they come and go. */
class LocalMulticast implements Multicast {
  readonly #events: MulticastEvents;
  readonly #host: Host;
  readonly #channels = new Map<string, Channel>();
  /** Keys of channels that could not be opened the last time. */
  readonly #failing = new Set<string>();
  readonly #bucket: TokenBucket;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #opening: Promise<void>;
  #isClosed = false;

  constructor(events: MulticastEvents, host: Host) {
    this.#events = events;
    this.#host = host;
    this.#bucket = new TokenBucket(READ_RATE, host.monotonic());
    this.#opening = this.#look();
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL);
  }

  get opened(): Promise<void> {
    return this.#opening;
  }

  get channels(): readonly LocalChannel[] {
    return [...this.#channels.values()].filter(({ isOpen }) => isOpen);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
  }

  async #look(): Promise<void> {
    const wanted = new Map<string, { local: LocalInterface; family: AddressFamily }>();
    for (const local of this.#interfaces()) {
      for (const family of [4, 6] as const) {
        const networks = networksOf(local, family);
        if (networks.length === 0) continue;
        const addresses = local.networks.map(({ text, length }) => `${text}/${length}`);
        wanted.set([family, local.name, ...addresses].join(" "), { local, family });
      }
    }
    for (const [key, channel] of this.#channels) {
      if (wanted.has(key)) continue;
      this.#channels.delete(key);
      void channel.close();
    }
    for (const key of this.#failing) if (!wanted.has(key)) this.#failing.delete(key);
    const fresh = [...wanted].filter(([key]) => !this.#channels.has(key));
    await Promise.all(fresh.map(async ([key, { local, family }]) => {
      const channel = new Channel(local, family, (bytes, sender) => {
        this.#receive(bytes, sender, channel);
      });
      this.#channels.set(key, channel);
      const failure = await channel.opened;
      if (failure === undefined) {
        this.#failing.delete(key);
        if (!this.#isClosed) this.#events.onChannel?.(channel);
        return;
      }
      // Another program may have the port for itself alone: the next look tries again.
      if (this.#channels.get(key) === channel) this.#channels.delete(key);
      if (!this.#failing.has(key)) this.#complain(local.name, failure);
      this.#failing.add(key);
    }));
  }

  #interfaces(): LocalInterface[] {
    try {
      return localInterfaces(Deno.networkInterfaces());
    } catch (error) {
      // A program may be without the permission to know them.
      if (!(error instanceof Error)) throw error;
      this.#complain("any interface", error);
      return [];
    }
  }

  #complain(name: string, error: Error): void {
    log.debug("mDNS does not work on {name}: {message}", { name, message: error.message });
  }

  #receive(bytes: Uint8Array, sender: Sender, channel: Channel): void {
    const address = parseIp(sender.address.replace(/%.*$/, ""));
    // Only this network's own machines may speak (section 11); another channel hears the others.
    const networks = networksOf(channel.interface, channel.family);
    if (!address || !networks.some((network) => prefixHas(network, address))) return;
    if (!this.#bucket.take(this.#host.monotonic())) return;
    const message = decodeDnsMessage(bytes);
    if (message) this.#events.onMessage(message, sender, channel);
  }
}

class Channel implements LocalChannel {
  readonly interface: LocalInterface;
  readonly family: AddressFamily;
  /** Resolves when it is open, or with the reason why it cannot be. */
  readonly opened: Promise<Error | undefined>;
  readonly #socket: Socket;
  isOpen = false;
  #closed: Promise<void> | undefined;

  constructor(
    local: LocalInterface,
    family: AddressFamily,
    onMessage: (bytes: Uint8Array, sender: Sender) => void,
  ) {
    this.interface = local;
    this.family = family;
    // Other programs of this machine that speak mDNS have the port as well.
    this.#socket = createSocket({
      type: `udp${family}`,
      reuseAddr: true,
      ...(family === 6 && { ipv6Only: true }),
    });
    this.#socket.on("message", (bytes: Buffer, { address, port }: RemoteInfo) => {
      onMessage(bytes, { address, port });
    });
    this.opened = this.#open();
  }

  async send(message: Uint8Array, to?: Sender): Promise<void> {
    if (!this.isOpen) return;
    const { address, port } = to ?? { address: GROUPS[this.family], port: MDNS_PORT };
    const isZoneless = /^fe[89ab].*:/i.test(address) && !address.includes("%");
    const target = isZoneless ? `${address}%${this.interface.name}` : address;
    const error = await new Promise<Error | null>((resolve) => {
      try {
        this.#socket.send(message, port, target, resolve);
      } catch (error) {
        // What is wrong with the arguments is thrown.
        resolve(error instanceof Error ? error : new Error(String(error)));
      }
    });
    if (error) log.debug("A message could not be sent: {message}", { message: error.message });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.opened;
    if (!this.isOpen) return;
    this.isOpen = false;
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }

  async #open(): Promise<Error | undefined> {
    const socket = this.#socket;
    const { family } = this;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.bind(MDNS_PORT, family === 4 ? "0.0.0.0" : "::", resolve);
      });
      const zone = family === 4
        ? networksOf(this.interface, 4)[0]?.text ?? ""
        : `::%${this.interface.name}`;
      socket.addMembership(GROUPS[family], zone);
      socket.setMulticastInterface(zone);
      socket.setMulticastTTL(255);
      socket.setMulticastLoopback(true);
      socket.on("error", (error) => log.debug("A socket failed: {error}", { error }));
      this.isOpen = true;
      return undefined;
    } catch (error) {
      await new Promise<void>((resolve) => {
        try {
          socket.close(() => resolve());
        } catch {
          // It has never been opened.
          resolve();
        }
      });
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}
