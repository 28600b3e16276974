import { getLogger } from "@logtape/logtape";
import { compareBytes, equalBytes, toHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import { admit, type Offer } from "../../protocol/mailbox/admission.ts";
import type { Capacity } from "../../protocol/mailbox/capacity.ts";
import {
  NOT_STORED,
  RECIPIENT_NOT_PAIRED,
  SENDER_NOT_PAIRED,
  waitingFor,
} from "../../protocol/mailbox/refusal.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import { accepted, refused } from "./forward_answers.ts";
import {
  decideInTurn,
  type MailboxPairs,
  newTicket,
  type Pair,
  type Sender,
  type Ticket,
} from "./mailbox_pairs.ts";
import type { IdRecord, MailboxMessage, PreparedBody } from "./mailbox_records.ts";
import { hashOf } from "./mailbox_shared.ts";
import { commitInTurn } from "./ticket_commit.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/** What the intake needs from the desk around it. */
export interface IntakeSurroundings {
  readonly store: KvMailboxStore;
  readonly commit: GroupCommit;
  readonly capacity: Capacity;
  readonly host: Host;
  isPaired(peer: PeerId): boolean;
  /** Whether the disk takes `size` bytes and keeps its floor. */
  diskHasRoom(size: number): boolean | Promise<boolean>;
  /** Ends what has expired of what waits for `recipient`. */
  dropExpired(recipient: PeerId): Promise<void>;
  /** A message became durable. */
  accepted(message: MailboxMessage): void;
}

interface Arrival {
  readonly request: ForwardRequest;
  readonly id: string;
  readonly hash: Uint8Array;
  /** Another body is being stored under the same id. */
  readonly clash: boolean;
  /** The link that it came on. */
  readonly link: number;
  /** The same message came on an earlier link, and has no answer yet. */
  readonly earlier: Promise<unknown> | undefined;
}

/** Whether an id was stored before, and how its message ended. */
interface Known {
  readonly known: Offer["known"];
  readonly end: IdRecord["end"];
}

/** What admission decided. */
type Verdict =
  | { readonly kind: "answered"; readonly ack: ForwardAck }
  | { readonly kind: "store"; readonly ticket: Ticket }
  | { readonly kind: "advance"; readonly ticket: Ticket; readonly ack: ForwardAck };

/** Takes messages in: decides in order, answers when they are durable. */
export class MailboxIntake {
  readonly #around: IntakeSurroundings;
  readonly #pairs: MailboxPairs;

  constructor(surroundings: IntakeSurroundings, pairs: MailboxPairs) {
    this.#around = surroundings;
    this.#pairs = pairs;
  }

  /** Resolves when the message is durable or refused. Never rejects. */
  forward(from: PeerId, request: ForwardRequest, onLink?: number): Promise<ForwardAck> {
    const { isPaired } = this.#around;
    if (!isPaired(from)) return Promise.resolve(refused(request, SENDER_NOT_PAIRED));
    const sender = this.#pairs.sender(from);
    const link = onLink ?? sender.link;
    const pair = this.#pairs.pair(sender, request.recipient, isPaired(request.recipient));
    if (pair === undefined) return Promise.resolve(refused(request, RECIPIENT_NOT_PAIRED));

    const id = toHex(request.msgId);
    const bodyHash = hashOf(request.encryptedPayload);
    const first = pair.unanswered.get(id);
    const isSame = first !== undefined && equalBytes(first.hash, bodyHash);
    if (isSame && first.link === link) return first.answer;

    const size = request.encryptedPayload.length;
    sender.bytes += size;
    const arrival: Arrival = {
      request: { ...request, msgId: request.msgId.slice() },
      id,
      hash: bodyHash,
      clash: first !== undefined && !isSame,
      link,
      earlier: isSame ? first.answer : undefined,
    };
    const answer = this.#answer(sender, pair, arrival);
    void answer.then(() => {
      sender.bytes -= size;
      if (pair.unanswered.get(id)?.answer === answer) pair.unanswered.delete(id);
    });
    if (first === undefined || isSame) {
      pair.unanswered.set(id, { hash: arrival.hash, link, answer });
    }
    return answer;
  }

  async #answer(sender: Sender, pair: Pair, arrival: Arrival): Promise<ForwardAck> {
    const { request } = arrival;
    let verdict: Verdict;
    try {
      const decided = this.#decide(sender, pair, arrival);
      verdict = decided instanceof Promise ? await decided : decided;
    } catch (error) {
      log.error("A message could not be looked up: {error}", { error });
      pair.sequence.refuse(request.sequenceNumber);
      return refused(request, NOT_STORED, pair);
    }
    switch (verdict.kind) {
      case "answered":
        return verdict.ack;
      case "store":
        return await this.#store(pair, arrival, verdict.ticket);
      case "advance":
        return await this.#advance(pair, request, verdict);
    }
  }

  /** In its turn; at once when that has come and nothing has to be looked up. */
  #decide(sender: Sender, pair: Pair, arrival: Arrival): Verdict | Promise<Verdict> {
    const { earlier, request: { msgId } } = arrival;
    const isNew = earlier === undefined && this.#isNew(pair, msgId);
    if (isNew && sender.undecided === 0) {
      const decided = this.#admit(sender, pair, arrival, null);
      return decided instanceof Promise ? decideInTurn(sender, () => decided) : decided;
    }
    const lookup = earlier === undefined ? this.#findId(pair, msgId) : undefined;
    // Awaited in its turn; until then a failure must not count as unhandled.
    lookup?.catch(() => {});
    return decideInTurn(sender, async () => {
      await earlier;
      const record = await (lookup ?? this.#findId(pair, msgId));
      return await this.#admit(sender, pair, arrival, record);
    });
  }

  /** Ids begin with a time: one above all that were ever accepted needs no look at the disk. */
  #isNew({ record: { value } }: Pair, msgId: Uint8Array): boolean {
    return value === undefined || compareBytes(msgId, value.highestId) > 0;
  }

  #findId(pair: Pair, msgId: Uint8Array): Promise<IdRecord | null> {
    return this.#isNew(pair, msgId)
      ? Promise.resolve(null)
      : this.#around.store.findId(pair.from, pair.to, msgId);
  }

  /** Makes room and looks at the disk where that is necessary, and takes the message or not. */
  #admit(
    sender: Sender,
    pair: Pair,
    arrival: Arrival,
    record: IdRecord | null,
  ): Verdict | Promise<Verdict> {
    const { capacity, diskHasRoom, dropExpired } = this.#around;
    const other = arrival.clash || (record !== null && !equalBytes(record.hash, arrival.hash));
    const known = other ? "other body" : record === null ? "no" : "same body";
    const end = record?.end;
    if (known !== "no") return this.#admitKnown(sender, pair, arrival, { known, end }, true);
    const { length } = arrival.request.encryptedPayload;
    const recipient = pair.to.toString();
    const pass = (hasRoom: boolean) =>
      this.#admitKnown(sender, pair, arrival, { known, end }, hasRoom);
    const isFull =
      (capacity.overQuota(recipient, length) ?? capacity.overCount(recipient)) !== undefined;
    const hasRoom = isFull
      ? dropExpired(pair.to).then(() => diskHasRoom(length))
      : diskHasRoom(length);
    return hasRoom instanceof Promise ? hasRoom.then(pass) : pass(hasRoom);
  }

  #admitKnown(
    sender: Sender,
    pair: Pair,
    { request, link }: Arrival,
    { known, end }: Known,
    diskHasRoom: boolean,
  ): Verdict {
    const { capacity, isPaired } = this.#around;
    const { sequenceNumber: sequence, encryptedPayload: body } = request;
    // Its sender begins again on a newer link, where what was refused on this one is forgotten.
    const next = pair.sequence.lastReserved + 1;
    if (link !== sender.link && sequence !== next) {
      return { kind: "answered", ack: refused(request, waitingFor(next), pair) };
    }
    const admission = admit(
      {
        senderPaired: isPaired(pair.from),
        recipientPaired: isPaired(pair.to),
        recipient: pair.to.toString(),
        size: body.length,
        sequence,
        known,
        diskHasRoom,
      },
      pair.sequence,
      capacity,
    );
    switch (admission.kind) {
      case "refuse":
        return { kind: "answered", ack: refused(request, admission.reason, pair) };
      case "store":
        return { kind: "store", ticket: newTicket(pair, sequence) };
      case "repeat": {
        const ack: ForwardAck = {
          ...accepted(request, pair),
          // The receipt may be gone already; a sender that asks again has not seen it.
          ...(end && {
            delivered: end.delivered,
            rejectionReason: end.delivered ? null : end.reason,
          }),
        };
        if (!admission.advance) return { kind: "answered", ack };
        return { kind: "advance", ticket: newTicket(pair, sequence), ack };
      }
    }
  }

  async #store(pair: Pair, arrival: Arrival, ticket: Ticket): Promise<ForwardAck> {
    const { store, commit, capacity, host } = this.#around;
    const { request, id, hash } = arrival;
    const { msgId, encryptedPayload: bytes, sequenceNumber: sequence } = request;
    let body: PreparedBody | undefined;
    let message: MailboxMessage | undefined;
    const take = (prepared: PreparedBody) => {
      body = prepared;
    };
    const failure = await commitInTurn(commit, pair, ticket, () => {
      message = {
        order: store.nextOrder(),
        id,
        sender: pair.from.toString(),
        size: bytes.length,
        acceptedAt: host.now(),
        msgId,
        from: pair.from,
        to: pair.to,
        sequence,
        hash,
        body: body?.value ?? null,
      };
      return store.addOps(message, pair.record, body);
    }, () => {
      const prepared = store.prepareBody(bytes);
      return prepared instanceof Promise ? prepared.then(take) : take(prepared);
    });
    if (failure === undefined && message !== undefined) {
      this.#around.accepted(message);
      return accepted(request, pair);
    }
    capacity.give(pair.to.toString(), bytes.length);
    if (body !== undefined) await store.abandonBody(body);
    return refused(request, failure ?? NOT_STORED, pair);
  }

  /** The same message under a new number: nothing to store but the number. */
  async #advance(
    pair: Pair,
    request: ForwardRequest,
    { ticket, ack }: Verdict & { kind: "advance" },
  ): Promise<ForwardAck> {
    const { commit, host } = this.#around;
    const change = pair.record.change((state) =>
      state && ({
        ...state,
        lastAccepted: ticket.sequence,
        at: host.now(),
      })
    );
    const failure = await commitInTurn(commit, pair, ticket, () => [change]);
    if (failure !== undefined) return refused(request, failure, pair);
    return { ...ack, lastSequence: pair.sequence.lastAccepted };
  }
}
