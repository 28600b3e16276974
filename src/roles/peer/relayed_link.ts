import { toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  decodeRelayAck,
  decodeRelayData,
  encodeRelayAck,
  encodeRelayData,
} from "../../protocol/hub_messages.ts";
import { CREDIT_STEP, RELAY_WINDOW } from "../../protocol/hub/circuit.ts";
import { MessageType } from "../../protocol/message_types.ts";
import type { LinkConnection } from "../link_connection.ts";
import { type FrameSocket, WaitingSocket } from "../web_socket.ts";

/** Bytes that may wait for credit in a carrier before it is given up. */
const MAX_QUEUED = 16 * 1_048_576;
const MAX_CIRCUITS = 64;

/** A carrier for a link that a server relays. */
export interface RelayedSocket extends FrameSocket {
  readonly peerId: PeerId;
  /** Why the relay, or the peer behind it, refused or ended the circuit, once it has. */
  readonly refusal: string | undefined;
}

/** The relayed carriers on one link to a server, by circuit. */
export class RelayedLinks {
  readonly #link: LinkConnection;
  readonly #host: Host;
  readonly #onOpened: (socket: RelayedSocket) => void;
  readonly #circuits = new Map<string, Circuit>();

  /** @param onOpened is called with the carrier that another peer has opened. */
  constructor(link: LinkConnection, host: Host, onOpened: (socket: RelayedSocket) => void) {
    this.#link = link;
    this.#host = host;
    this.#onOpened = onOpened;
  }

  /** A carrier to `peer`; a refusal ends it. */
  open(peer: PeerId): RelayedSocket {
    return this.#add(peer, this.#host.random(16), true);
  }

  /**
   * Takes the relay's messages; false for any other message.
   *
   * @throws {ProtocolError} when the server breaks the protocol.
   */
  receive(type: number, payload: Uint8Array): boolean {
    if (type === MessageType.RelayData) {
      const { peerId, frame, circuit, opens, credit } = decodeRelayData(payload);
      const known = this.#circuits.get(keyOf(peerId, circuit));
      if (opens && known) {
        throw new ProtocolError("unexpected-message", "Circuit is opened twice");
      }
      if (opens && this.#circuits.size >= MAX_CIRCUITS) {
        this.#link.send(
          MessageType.RelayAck,
          encodeRelayAck({ peerId, circuit, credit: 0, reason: "too many relayed links" }),
        );
      } else if (opens) {
        const socket = this.#add(peerId, circuit.slice(), false);
        this.#onOpened(socket);
        socket.take(frame);
      } else {
        if (credit > 0) known?.grant(credit);
        known?.take(frame);
      }
      return true;
    }
    if (type !== MessageType.RelayAck) return false;
    const { peerId, circuit, credit, reason } = decodeRelayAck(payload);
    const known = this.#circuits.get(keyOf(peerId, circuit));
    if (reason !== null) known?.ended(reason);
    else known?.grant(credit);
    return true;
  }

  /** The link to the server has ended, and every circuit with it. */
  close(): void {
    for (const circuit of [...this.#circuits.values()]) {
      circuit.ended("the link to the server ended");
    }
  }

  #add(peerId: PeerId, id: Uint8Array, opens: boolean): Circuit {
    const key = keyOf(peerId, id);
    const circuit = new Circuit(this.#link, peerId, id, opens, () => this.#circuits.delete(key));
    this.#circuits.set(key, circuit);
    return circuit;
  }
}

class Circuit extends WaitingSocket implements RelayedSocket {
  refusal: string | undefined;
  readonly #link: LinkConnection;
  readonly #id: Uint8Array;
  readonly #forget: () => void;
  #opens: boolean;
  #open = true;
  #credit = RELAY_WINDOW;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #taken = 0;

  constructor(
    link: LinkConnection,
    readonly peerId: PeerId,
    id: Uint8Array,
    opens: boolean,
    forget: () => void,
  ) {
    super();
    this.#link = link;
    this.#id = id;
    this.#opens = opens;
    this.#forget = forget;
  }

  get bufferedBytes(): number {
    return this.#waitingBytes;
  }

  send(frame: Uint8Array): void {
    if (!this.#open) return;
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
    this.#flush();
    if (this.#waitingBytes > MAX_QUEUED) this.destroy();
  }

  sendText(): void {
    throw new TypeError("Cannot carry text");
  }

  close(code = 1000, reason = ""): void {
    this.#end(code, reason, true);
  }

  destroy(): void {
    this.#end(1006, "", true);
  }

  take(frame: Uint8Array): void {
    if (!this.#open) return;
    this.#taken += frame.length;
    this.receiveFrame(frame);
    // An answer to the frame has taken the credit along: a message of its own could hold up the next.
    if (this.#taken < CREDIT_STEP || !this.#open) return;
    this.#acknowledge(this.#taken, null);
    this.#taken = 0;
  }

  grant(credit: number): void {
    if (this.#credit + credit > RELAY_WINDOW) {
      throw new ProtocolError("unexpected-message", "Credit for more than was sent");
    }
    this.#credit += credit;
    this.#flush();
  }

  ended(reason: string): void {
    this.refusal ??= reason;
    this.#end(1006, reason, false);
  }

  #flush(): void {
    for (let frame = this.#waiting[0]; frame; frame = this.#waiting[0]) {
      if (frame.length > this.#credit) return;
      this.#waiting.shift();
      this.#waitingBytes -= frame.length;
      this.#credit -= frame.length;
      const message = {
        peerId: this.peerId,
        frame,
        circuit: this.#id,
        opens: this.#opens,
        credit: this.#taken,
      };
      this.#opens = false;
      this.#taken = 0;
      this.#link.send(MessageType.RelayData, encodeRelayData(message));
    }
  }

  #acknowledge(credit: number, reason: string | null): void {
    const message = { peerId: this.peerId, circuit: this.#id, credit, reason };
    this.#link.send(MessageType.RelayAck, encodeRelayAck(message));
  }

  #end(code: number, reason: string, tell: boolean): void {
    if (!this.#open) return;
    this.#open = false;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#forget();
    if (tell && !this.#opens) this.#acknowledge(0, reason || "closed");
    // Who ends a socket itself hears of it afterwards, as from any other.
    queueMicrotask(() => this.end({ code, reason }));
  }
}

function keyOf(peerId: PeerId, circuit: Uint8Array): string {
  return `${peerId} ${toHex(circuit)}`;
}
