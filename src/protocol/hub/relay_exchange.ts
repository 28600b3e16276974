import { ProtocolError } from "../../base/errors.ts";
import { PeerId } from "../crypto/peer_id.ts";
import type { RelayAck, RelayData } from "../hub_messages.ts";
import {
  Circuit,
  type CircuitEnd,
  circuitKey,
  CREDIT_STEP,
  RELAY_WINDOW,
  type RelayPort,
} from "./circuit.ts";
import { RelayAccounts, type RelayPeerStats } from "./relay_accounts.ts";

/** Circuits of one peer. */
export const MAX_CIRCUITS_PER_PEER = 32;
/** Bytes under way to one link; the rest waits in the circuits, so that all get their turn. */
const MAX_UNDER_WAY = 1_048_576;

/** Why a circuit was refused or has ended: the `reason` of RelayAck. */
export const RelayReason = {
  capacity: "the relay has no room for another pair",
  notOnline: "peer is not online",
  tooMany: "too many relayed links of one peer",
  overRate: "bandwidth quota used up",
  replaced: "replaced",
  gone: "peer went away",
  overWindow: "more bytes than were granted",
} as const;

/** Bounds of a {@linkcode RelayExchange}. */
export interface RelayLimits {
  /** Pairs of peers with circuits; 0 relays nothing. */
  readonly capacity: number;
  /** Bytes a second that one peer may send, on average; `undefined` for no bound. */
  readonly bytesPerSecond: number | undefined;
}

/** Numbers of a relay. */
export interface RelayStats {
  /** Most pairs of peers at a time. */
  readonly capacity: number;
  /** Pairs of peers with a relayed link. */
  readonly activePairs: number;
  /** Relayed links opened since the start. */
  readonly opened: number;
  /** Relayed links refused since the start. */
  readonly refused: number;
  /** Bytes of frames relayed since the start. */
  readonly bytesRelayed: number;
  /** Who has used it. */
  readonly peers: readonly RelayPeerStats[];
}

/** A link and its circuits. */
interface Station {
  readonly port: RelayPort;
  readonly ends: Map<string, CircuitEnd>;
  /** Ends with frames that wait, in the order of their turns. */
  readonly ready: Set<CircuitEnd>;
  underWay: number;
}

/**
 * Relays frames between two links of paired peers. Each circuit has its own window, so that a
 * receiver that stalls holds up its own circuits alone and what waits here is bounded. Times are
 * monotonic milliseconds.
 */
export class RelayExchange {
  readonly #limits: RelayLimits;
  readonly #stations = new Map<RelayPort, Station>();
  /** The latest port of each peer is the one that is opened to. */
  readonly #ports = new Map<string, RelayPort[]>();
  readonly #pairs = new Map<string, number>();
  readonly #accounts: RelayAccounts;
  readonly #owed = new Set<CircuitEnd>();
  #opened = 0;
  #refused = 0;

  constructor(limits: RelayLimits) {
    this.#limits = limits;
    this.#accounts = new RelayAccounts(limits.bytesPerSecond);
  }

  /** A link that takes relayed frames has come up. */
  attach(port: RelayPort): void {
    const text = port.peerId.toString();
    this.#stations.set(port, { port, ends: new Map(), ready: new Set(), underWay: 0 });
    this.#ports.set(text, [...this.#ports.get(text) ?? [], port]);
  }

  /** It is gone, and its circuits with it. */
  detach(port: RelayPort, now: number): void {
    const station = this.#stations.get(port);
    if (!station) return;
    for (const end of [...station.ends.values()]) {
      this.#remove(end.circuit, now);
      end.circuit.tell(end.circuit.opposite(end), RelayReason.gone);
    }
    this.#stations.delete(port);
    const text = port.peerId.toString();
    const left = (this.#ports.get(text) ?? []).filter((other) => other !== port);
    if (left.length > 0) this.#ports.set(text, left);
    else this.#ports.delete(text);
  }

  /** A frame came in. One of a circuit that has ended meanwhile is dropped. */
  data(port: RelayPort, message: RelayData, now: number): void {
    const { peerId, frame, circuit: id, opens, credit } = message;
    const end = this.#stations.get(port)?.ends.get(circuitKey(peerId, id));
    if (opens) {
      if (end) throw new ProtocolError("unexpected-message", "Circuit is opened twice");
      return this.#open(port, peerId, id, frame, now);
    }
    if (!end) return;
    if (credit > 0) this.#acknowledge(end, credit, now);
    this.#carry(end, frame, now);
  }

  /** The peer at `port` has taken frames, or wants the circuit to end. */
  ack(port: RelayPort, { peerId, circuit: id, credit, reason }: RelayAck, now: number): void {
    const end = this.#stations.get(port)?.ends.get(circuitKey(peerId, id));
    if (!end) return;
    if (reason !== null) {
      this.#remove(end.circuit, now);
      return end.circuit.tell(end.circuit.opposite(end), reason);
    }
    this.#acknowledge(end, credit, now);
  }

  /** When {@linkcode advance} is due, or `undefined`. */
  nextDeadline(now: number): number | undefined {
    let next: number | undefined;
    for (const { port } of this.#owed) {
      const at = this.#accounts.solventAt(port.peerId, now);
      next = Math.min(next ?? at, at);
    }
    return next;
  }

  /** Gives the credit that is due to those who keep to their rate again. */
  advance(now: number): void {
    for (const end of [...this.#owed]) this.#settle(end, now);
  }

  /** The numbers of a peer that is not paired any more are not shown any longer. */
  forget(peerId: PeerId): void {
    this.#accounts.forget(peerId);
  }

  stats(): RelayStats {
    const active = new Map<string, number>();
    for (const { port, ends } of this.#stations.values()) {
      const text = port.peerId.toString();
      active.set(text, (active.get(text) ?? 0) + ends.size);
    }
    return {
      capacity: this.#limits.capacity,
      activePairs: this.#pairs.size,
      opened: this.#opened,
      refused: this.#refused,
      bytesRelayed: this.#accounts.total,
      peers: this.#accounts.list(active),
    };
  }

  #open(port: RelayPort, peerId: PeerId, id: Uint8Array, frame: Uint8Array, now: number): void {
    const near = this.#stations.get(port);
    if (!near) return;
    const target = this.#ports.get(peerId.toString())?.at(-1);
    const far = target && this.#stations.get(target);
    const refusal = this.#refusal(port.peerId, far, now);
    if (!far || refusal !== undefined) {
      this.#refused++;
      const reason = refusal ?? RelayReason.notOnline;
      return port.ack({ peerId, circuit: id, credit: 0, reason });
    }
    this.#endEarlier(port.peerId, far, now);
    const circuit = new Circuit(id.slice(), port, far.port);
    near.ends.set(circuitKey(peerId, id), circuit.opener);
    far.ends.set(circuitKey(port.peerId, id), circuit.acceptor);
    const pair = pairKey(port.peerId, peerId);
    this.#pairs.set(pair, (this.#pairs.get(pair) ?? 0) + 1);
    this.#opened++;
    this.#carry(circuit.opener, frame, now);
  }

  #refusal(opener: PeerId, far: Station | undefined, now: number): string | undefined {
    if (!far || far.port.peerId.equals(opener)) return RelayReason.notOnline;
    const isNewPair = !this.#pairs.has(pairKey(opener, far.port.peerId));
    if (isNewPair && this.#pairs.size >= this.#limits.capacity) return RelayReason.capacity;
    const counts = [opener, far.port.peerId].map((peer) => this.#circuitsOf(peer));
    if (counts.some((count) => count >= MAX_CIRCUITS_PER_PEER)) return RelayReason.tooMany;
    return this.#accounts.solventAt(opener, now) > now ? RelayReason.overRate : undefined;
  }

  /** Who opens once more has lost the circuit before, whichever of its links that was on. */
  #endEarlier(opener: PeerId, far: Station, now: number): void {
    for (const port of this.#ports.get(far.port.peerId.toString()) ?? []) {
      for (const end of [...this.#stations.get(port)?.ends.values() ?? []]) {
        const { circuit } = end;
        if (end !== circuit.acceptor || !circuit.opener.port.peerId.equals(opener)) continue;
        this.#remove(circuit, now);
        for (const each of circuit.ends) circuit.tell(each, RelayReason.replaced);
      }
    }
  }

  #circuitsOf(peer: PeerId): number {
    const ports = this.#ports.get(peer.toString()) ?? [];
    return ports.reduce((sum, port) => sum + (this.#stations.get(port)?.ends.size ?? 0), 0);
  }

  /** `end` has taken frames, which is credit for the other one. */
  #acknowledge(end: CircuitEnd, credit: number, now: number): void {
    const station = this.#stations.get(end.port);
    if (!station) return;
    if (credit === 0 || credit > end.unacknowledged) {
      throw new ProtocolError("unexpected-message", "Acknowledges more than it was sent");
    }
    end.unacknowledged -= credit;
    station.underWay -= credit;
    this.#accounts.received(end.port.peerId, credit);
    const opposite = end.circuit.opposite(end);
    opposite.owedCredit += credit;
    if (opposite.owedCredit >= CREDIT_STEP) this.#settle(opposite, now);
    this.#pump(station, now);
  }

  /** Takes a frame from `end` to the other one. */
  #carry(end: CircuitEnd, frame: Uint8Array, now: number): void {
    const { circuit } = end;
    const to = circuit.opposite(end);
    const station = this.#stations.get(to.port);
    if (!station) return;
    const owed = end.owedCredit;
    if (to.waitingBytes + to.unacknowledged + owed + frame.length > RELAY_WINDOW) {
      this.#remove(circuit, now);
      for (const each of circuit.ends) circuit.tell(each, RelayReason.overWindow);
      return;
    }
    this.#accounts.sent(end.port.peerId, frame.length, now);
    to.waiting.push(frame);
    to.waitingBytes += frame.length;
    station.ready.add(to);
    this.#pump(station, now);
  }

  /** One frame of each circuit in turn, as long as few enough bytes are under way to this link. */
  #pump(station: Station, now: number): void {
    for (const end of station.ready) {
      if (station.underWay >= MAX_UNDER_WAY) return;
      station.ready.delete(end);
      const credit = this.#isSolvent(end, now) ? end.owedCredit : 0;
      end.owedCredit -= credit;
      station.underWay += end.circuit.sendNext(end, credit);
      if (end.waiting.length > 0) station.ready.add(end);
    }
  }

  /** Grants what `end` has earned, unless its peer is beyond its rate. */
  #settle(end: CircuitEnd, now: number): void {
    if (!this.#isSolvent(end, now)) return void this.#owed.add(end);
    this.#owed.delete(end);
    if (end.owedCredit > 0) end.circuit.grant(end);
  }

  #isSolvent({ port }: CircuitEnd, now: number): boolean {
    return this.#accounts.solventAt(port.peerId, now) <= now;
  }

  #remove(circuit: Circuit, now: number): void {
    const [opener, acceptor] = circuit.ends;
    for (const end of circuit.ends) {
      this.#owed.delete(end);
      const station = this.#stations.get(end.port);
      if (!station) continue;
      station.ends.delete(circuitKey(circuit.opposite(end).port.peerId, circuit.id));
      station.ready.delete(end);
      station.underWay -= end.unacknowledged;
      this.#pump(station, now);
    }
    const pair = pairKey(opener.port.peerId, acceptor.port.peerId);
    const left = (this.#pairs.get(pair) ?? 1) - 1;
    if (left > 0) this.#pairs.set(pair, left);
    else this.#pairs.delete(pair);
  }
}

function pairKey(one: PeerId, other: PeerId): string {
  return [one.toString(), other.toString()].sort().join(" ");
}
