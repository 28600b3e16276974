import { lookup } from "node:dns/promises";
import {
  type AddressPort,
  equalAddressPort,
  formatAddressPort,
  formatIp,
  parseIp,
} from "../../base/address.ts";
import { equalBytes } from "../../base/bytes.ts";
import { Endpoint } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import {
  encodeStunMessage,
  MessageClass,
  Method,
  TRANSACTION_ID_LENGTH,
} from "../../protocol/stun/message.ts";
import type { DatagramSockets } from "../relay/datagram_sockets.ts";
import { TurnConversation } from "../turn_conversation.ts";
import { hostAddresses } from "./host_addresses.ts";
import { type RelayServer, sharedCarrier } from "./relay_keeper.ts";
import { WireSocket } from "./wire_socket.ts";

/** How the NAT in front of this machine treats datagrams (RFC 3489 section 5). */
export type NatKind =
  | "open"
  | "full_cone"
  | "restricted_cone"
  | "port_restricted_cone"
  | "symmetric"
  | "unknown";

export interface NatReport {
  readonly kind: NatKind;
  /** `ip:port` as the first relay saw it. */
  readonly publicAddress?: string;
  /** Why nothing is known. */
  readonly failure?: string;
}

/** Milliseconds for an answer, and between two datagrams of which one may be lost. */
const ANSWER_TIMEOUT = 3_000;
const RESEND = 250;
const MAX_SENDS = 4;

/**
 * Finds out what stands between this machine and others, with the help of a TURN server over UDP:
 * its allocation is somebody else's address, from which and to which datagrams are sent. Another
 * one on another address tells a full cone from a restricted one; without it the latter is said.
 */
export async function probeNat(options: {
  readonly relays: readonly RelayServer[];
  readonly host: Host;
  readonly sockets: DatagramSockets;
  readonly interfaces: readonly Deno.NetworkInterfaceInfo[];
}): Promise<NatReport> {
  const { relays, host, sockets, interfaces } = options;
  const udp = relays.filter(({ uri }) => uri.transport === "udp");
  let failure = "there is no TURN server over UDP to ask";
  for (const relay of udp) {
    await using probe = new NatProbe(host, sockets);
    try {
      const others = udp.filter((other) => other.uri.host !== relay.uri.host);
      return await probe.run(relay, others, hostAddresses(interfaces, 4).map(formatIp));
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
  }
  return { kind: "unknown", failure };
}

class NatProbe implements AsyncDisposable {
  readonly #host: Host;
  readonly #sockets: DatagramSockets;
  readonly #wire: WireSocket;
  readonly #stack = new AsyncDisposableStack();
  /** Transaction ids of the datagrams that came from addresses that were not asked. */
  readonly #arrived = new Set<string>();

  constructor(host: Host, sockets: DatagramSockets) {
    this.#host = host;
    this.#sockets = sockets;
    this.#wire = new WireSocket(4, sockets, ({ transactionId }) => {
      if (this.#arrived.size < 64) this.#arrived.add(transactionId.toHex());
    });
    this.#stack.defer(() => this.#wire.close());
  }

  async run(
    relay: RelayServer,
    others: readonly RelayServer[],
    own: readonly string[],
  ): Promise<NatReport> {
    const first = await this.#converse(this.#wire, relay);
    const mapped = await first.bind();
    const { relayed } = await first.allocate();
    const publicAddress = formatAddressPort(mapped);
    // First what comes in: afterwards the NAT knows the relay's address.
    const letsIn = await this.#comesFrom(first, mapped);
    const seen = await this.#seenBy(first, relayed);
    if (!seen) return { kind: "unknown", publicAddress, failure: "the relay's address is silent" };
    if (!equalAddressPort(seen, mapped)) return { kind: "symmetric", publicAddress };
    if (!letsIn) return { kind: "port_restricted_cone", publicAddress };
    if (own.includes(formatIp(mapped.address))) return { kind: "open", publicAddress };
    for (const other of others) {
      if (await this.#letsStrangerIn(other, mapped)) return { kind: "full_cone", publicAddress };
    }
    return { kind: "restricted_cone", publicAddress };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #converse(wire: WireSocket, { uri, credentials }: RelayServer): Promise<TurnConversation> {
    const literal = parseIp(uri.host);
    const address = literal ?? parseIp((await lookup(uri.host, { family: 4 })).address);
    if (address?.length !== 4) throw new Error(`${uri.host} has no IPv4 address`);
    const carrier = sharedCarrier(wire, { address, port: uri.port });
    return this.#stack.use(
      new TurnConversation(carrier, "datagram", {
        ...credentials(),
        timeout: ANSWER_TIMEOUT,
        host: this.#host,
      }),
    );
  }

  /** Whether a relay that this node's NAT knows nothing of gets through to it. */
  async #letsStrangerIn(relay: RelayServer, mapped: AddressPort): Promise<boolean> {
    const wire = new WireSocket(4, this.#sockets, () => {});
    this.#stack.defer(() => wire.close());
    try {
      const stranger = await this.#converse(wire, relay);
      await stranger.allocate();
      return await this.#comesFrom(stranger, mapped);
    } catch {
      return false;
    }
  }

  /** Whether a datagram from the allocation comes to this node's address. */
  async #comesFrom(relay: TurnConversation, mapped: AddressPort): Promise<boolean> {
    const { bytes, id } = this.#datagram();
    await relay.permit(mapped.address);
    for (let sent = 0; sent < MAX_SENDS; sent++) {
      await relay.indicate(mapped, bytes);
      await relay.receive(RESEND);
      if (this.#arrived.has(id)) return true;
    }
    return false;
  }

  /** This node's address as the relayed address sees it. */
  async #seenBy(
    relay: TurnConversation,
    relayed: AddressPort,
  ): Promise<AddressPort | undefined> {
    const { bytes } = this.#datagram();
    const to = new Endpoint(relayed.address, relayed.port);
    for (let sent = 0; sent < MAX_SENDS; sent++) {
      await this.#wire.send(bytes, 0, bytes.length, to);
      const received = await relay.receive(RESEND);
      if (received && equalBytes(received.bytes, bytes)) return received.peer;
    }
    return undefined;
  }

  #datagram() {
    const transactionId = this.#host.random(TRANSACTION_ID_LENGTH);
    const bytes = encodeStunMessage({
      method: Method.Binding,
      messageClass: MessageClass.Indication,
      transactionId,
      attributes: [],
      fingerprint: true,
    });
    return { bytes, id: transactionId.toHex() };
  }
}
