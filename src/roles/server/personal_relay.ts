import { decodeRelayAck, decodeRelayData } from "../../protocol/hub_messages.ts";
import { encodeRelayAck, encodeRelayData } from "../../protocol/hub_messages.ts";
import type { RelayPort } from "../../protocol/hub/circuit.ts";
import {
  RelayExchange,
  type RelayLimits,
  type RelayStats,
} from "../../protocol/hub/relay_exchange.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import { MessageType } from "../../protocol/message_types.ts";
import type { Host } from "../../base/host.ts";
import type { LinkConnection } from "../link_connection.ts";

/** Relays whole links between paired peers that are online. */
export class PersonalRelay {
  readonly #exchange: RelayExchange;
  readonly #host: Host;
  readonly #ports = new Map<LinkConnection, RelayPort>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limits: RelayLimits, host: Host) {
    this.#exchange = new RelayExchange(limits);
    this.#host = host;
  }

  /** A paired peer's link came up; one that declares `relay` can open circuits and be opened to. */
  linkUp(link: LinkConnection): void {
    if (!link.capabilities.has("relay")) return;
    const port: RelayPort = {
      peerId: link.remote,
      data: (message) => link.send(MessageType.RelayData, encodeRelayData(message)),
      ack: (message) => link.send(MessageType.RelayAck, encodeRelayAck(message)),
    };
    this.#ports.set(link, port);
    this.#exchange.attach(port);
  }

  linkDown(link: LinkConnection): void {
    const port = this.#ports.get(link);
    if (!port) return;
    this.#ports.delete(link);
    this.#exchange.detach(port, this.#host.monotonic());
  }

  /**
   * Takes the relay's messages of a link; false for any other message.
   *
   * @throws {ProtocolError} when the peer breaks the protocol.
   */
  receive(link: LinkConnection, { type, payload }: Envelope): boolean {
    const isData = type === MessageType.RelayData;
    if (!isData && type !== MessageType.RelayAck) return false;
    const port = this.#ports.get(link);
    if (!port) return true;
    const now = this.#host.monotonic();
    if (isData) this.#exchange.data(port, decodeRelayData(payload), now);
    else this.#exchange.ack(port, decodeRelayAck(payload), now);
    this.#arm();
    return true;
  }

  /** The peer is not paired any more. */
  forget(peer: PeerId): void {
    this.#exchange.forget(peer);
  }

  stats(): RelayStats {
    return this.#exchange.stats();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    const now = this.#host.monotonic();
    const deadline = this.#exchange.nextDeadline(now);
    if (deadline === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#exchange.advance(this.#host.monotonic());
      this.#arm();
    }, deadline - now);
  }
}
