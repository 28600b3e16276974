import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import type { RelayAck, RelayData } from "../hub_messages.ts";

/** Bytes of frames that may be under way in each direction of a circuit. */
export const RELAY_WINDOW = 524_288;
/** Credit that is worth a message of its own; less waits for a frame that goes the same way. */
export const CREDIT_STEP = 16_384;

/** One link of a peer, as the relay sees it. */
export interface RelayPort {
  readonly peerId: PeerId;
  data(message: RelayData): void;
  ack(message: RelayAck): void;
}

/** One end of a circuit, with what is under way to it. */
export interface CircuitEnd {
  readonly circuit: Circuit;
  readonly port: RelayPort;
  /** Frames that wait to be sent to it, oldest first. */
  readonly waiting: Uint8Array[];
  waitingBytes: number;
  /** Bytes that were sent to it and not acknowledged. */
  unacknowledged: number;
  /** Credit that it has earned and not been given yet. */
  owedCredit: number;
}

/** A relayed link between two peers. */
export class Circuit {
  readonly opener: CircuitEnd;
  readonly acceptor: CircuitEnd;
  /** The first frame has gone to the acceptor. */
  announced = false;

  constructor(readonly id: Uint8Array, opener: RelayPort, acceptor: RelayPort) {
    this.opener = this.#end(opener);
    this.acceptor = this.#end(acceptor);
  }

  get ends(): readonly [CircuitEnd, CircuitEnd] {
    return [this.opener, this.acceptor];
  }

  opposite(end: CircuitEnd): CircuitEnd {
    return end === this.opener ? this.acceptor : this.opener;
  }

  /** Sends the oldest waiting frame to `end`, with credit for it, and returns its length. */
  sendNext(end: CircuitEnd, credit: number): number {
    const frame = end.waiting.shift();
    if (!frame) return 0;
    end.waitingBytes -= frame.length;
    end.unacknowledged += frame.length;
    const opens = end === this.acceptor && !this.announced;
    if (opens) this.announced = true;
    end.port.data({ peerId: this.#across(end), frame, circuit: this.id, opens, credit });
    return frame.length;
  }

  /** Gives `end` the credit that it has earned. */
  grant(end: CircuitEnd): void {
    const credit = end.owedCredit;
    end.owedCredit = 0;
    end.port.ack({ peerId: this.#across(end), circuit: this.id, credit, reason: null });
  }

  /** Tells `end` that the circuit is no more. */
  tell(end: CircuitEnd, reason: string): void {
    if (end === this.acceptor && !this.announced) return;
    end.port.ack({ peerId: this.#across(end), circuit: this.id, credit: 0, reason });
  }

  #across(end: CircuitEnd): PeerId {
    return this.opposite(end).port.peerId;
  }

  #end(port: RelayPort): CircuitEnd {
    return {
      circuit: this,
      port,
      waiting: [],
      waitingBytes: 0,
      unacknowledged: 0,
      owedCredit: 0,
    };
  }
}

/** What names a circuit on one port: two openers may choose the same id. */
export function circuitKey(remote: PeerId, id: Uint8Array): string {
  return `${remote} ${toHex(id)}`;
}
