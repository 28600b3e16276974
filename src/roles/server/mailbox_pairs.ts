import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import { PairSequence } from "../../protocol/mailbox/pair_sequence.ts";
import type { LiveRecord } from "../live_record.ts";
import type { PairRecord, PairState } from "./mailbox_records.ts";

/** A sender may ask for this many recipients that are not paired before they are not noted. */
const MAX_PAIRS_OF_STRANGERS = 1024;

/** One sender, as the intake knows it. */
export interface Sender {
  readonly peer: PeerId;
  /** Admissions are decided one after the other, in the order of the calls. */
  admission: Promise<unknown>;
  /** Admissions that are not decided yet. */
  undecided: number;
  readonly pairs: Map<string, Pair>;
  /** Bytes of bodies between the call and the answer. */
  bytes: number;
  /** Counts its links: of what came on an earlier one than the last only the next is taken. */
  link: number;
}

/** What one sender sends to one recipient. */
export interface Pair {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly sequence: PairSequence;
  readonly record: LiveRecord<PairState>;
  /** Every request that has no answer yet, by message id. */
  readonly unanswered: Map<string, Unanswered>;
  /** Admitted and not durable yet, in order. */
  readonly tickets: Set<Ticket>;
  /** Resolves when the last ticket's commit has been handed in, or never will be. */
  handedIn: Promise<void>;
  /** Tickets of which neither is true yet. */
  notHandedIn: number;
}

/** A request under way. */
export interface Unanswered {
  readonly hash: Uint8Array;
  readonly link: number;
  readonly answer: Promise<ForwardAck>;
}

/** A place in the order of a pair's commits. */
export interface Ticket {
  readonly sequence: number;
  /** Absent when every earlier ticket of the pair has been handed in. */
  readonly after: Promise<void> | undefined;
  /** It has been handed in, or never will be; does nothing the second time. */
  readonly done: () => void;
  /** An earlier one of its pair failed. */
  givenUp: boolean;
}

/** Who sends to whom: the order, and what has no answer yet. */
export class MailboxPairs {
  readonly #senders = new Map<string, Sender>();

  readonly #newRecord: (from: PeerId, to: PeerId) => PairRecord;

  /** @param newRecord makes the record of a pair that is not among `records`. */
  constructor(
    records: readonly PairRecord[],
    newRecord: (from: PeerId, to: PeerId) => PairRecord,
  ) {
    this.#newRecord = newRecord;
    for (const record of records) {
      this.sender(record.from).pairs.set(record.to.toString(), newPair(record));
    }
  }

  /**
   * A new link of `from`: what was refused on the last one no longer holds others back. Returns the
   * link's number.
   */
  linkUp(from: PeerId): number {
    const sender = this.sender(from);
    for (const [key, pair] of sender.pairs) {
      pair.sequence.forgetRefusal();
      if (pair.sequence.lastAccepted === 0 && pair.unanswered.size === 0) sender.pairs.delete(key);
    }
    return ++sender.link;
  }

  lastAccepted(from: PeerId, to: PeerId): number {
    const pair = this.#senders.get(from.toString())?.pairs.get(to.toString());
    return pair?.sequence.lastAccepted ?? 0;
  }

  /** Bytes of bodies from `from` that have no answer yet. */
  unansweredBytes(from: PeerId): number {
    return this.#senders.get(from.toString())?.bytes ?? 0;
  }

  /** Resolves when every request for `to` (or all, when left out) has been answered. */
  async settled(to?: PeerId): Promise<void> {
    const answers: Promise<ForwardAck>[] = [];
    for (const { pairs } of this.#senders.values()) {
      for (const pair of pairs.values()) {
        if (to !== undefined && !pair.to.equals(to)) continue;
        for (const { answer } of pair.unanswered.values()) answers.push(answer);
      }
    }
    await Promise.all(answers);
  }

  /** Pairs that accepted nothing since `before`. */
  idle(before: number): { from: PeerId; to: PeerId }[] {
    const idle: { from: PeerId; to: PeerId }[] = [];
    for (const { pairs } of this.#senders.values()) {
      for (const { from, to, record: { value }, unanswered } of pairs.values()) {
        const isIdle = value !== undefined && value.at < before && value.messages === 0;
        if (isIdle && unanswered.size === 0) idle.push({ from, to });
      }
    }
    return idle;
  }

  /** The record of a pair that has had messages. */
  record(from: PeerId, to: PeerId): LiveRecord<PairState> {
    const pair = this.#senders.get(from.toString())?.pairs.get(to.toString());
    return (pair ?? this.#newRecord(from, to)).record;
  }

  forget(from: PeerId, to: PeerId): void {
    const sender = this.#senders.get(from.toString());
    sender?.pairs.delete(to.toString());
  }

  sender(peer: PeerId): Sender {
    const key = peer.toString();
    let sender = this.#senders.get(key);
    if (sender === undefined) {
      sender = {
        peer,
        admission: Promise.resolve(),
        undecided: 0,
        pairs: new Map(),
        bytes: 0,
        link: 0,
      };
      this.#senders.set(key, sender);
    }
    return sender;
  }

  /** `undefined` for one more recipient that is not paired than are noted. */
  pair(sender: Sender, to: PeerId, paired: boolean): Pair | undefined {
    const key = to.toString();
    let pair = sender.pairs.get(key);
    if (pair === undefined) {
      const noted = sender.pairs.size < MAX_PAIRS_OF_STRANGERS || paired;
      if (!noted) return undefined;
      pair = newPair(this.#newRecord(sender.peer, to));
      sender.pairs.set(key, pair);
    }
    return pair;
  }
}

function newPair({ from, to, record }: PairRecord): Pair {
  return {
    from,
    to,
    sequence: new PairSequence(record.value?.lastAccepted ?? 0),
    record,
    unanswered: new Map(),
    tickets: new Set(),
    handedIn: Promise.resolve(),
    notHandedIn: 0,
  };
}

/** Decides when everything that came before from this sender is decided. */
export function decideInTurn<Decision>(
  sender: Sender,
  decide: () => Decision | Promise<Decision>,
): Promise<Decision> {
  sender.undecided++;
  const decision = sender.admission.then(decide);
  const decided = () => {
    sender.undecided--;
  };
  sender.admission = decision.then(decided, decided);
  return decision;
}

/** Takes the next place in the order of the pair. */
export function newTicket(pair: Pair, sequence: number): Ticket {
  const { promise, resolve } = Promise.withResolvers<void>();
  const after = pair.notHandedIn === 0 ? undefined : pair.handedIn;
  let isDone = false;
  const done = () => {
    if (isDone) return;
    isDone = true;
    pair.notHandedIn--;
    resolve();
  };
  const ticket: Ticket = { sequence, after, done, givenUp: false };
  pair.notHandedIn++;
  pair.handedIn = promise;
  pair.tickets.add(ticket);
  return ticket;
}
