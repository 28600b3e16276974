import { hash } from "node:crypto";
import { getLogger } from "@logtape/logtape";
import { compareBytes, equalBytes, toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import { admit } from "../../protocol/mailbox/admission.ts";
import type { Capacity } from "../../protocol/mailbox/capacity.ts";
import {
  DISK_FULL,
  NOT_STORED,
  RECIPIENT_NOT_PAIRED,
  SENDER_NOT_PAIRED,
  waitingFor,
} from "../../protocol/mailbox/refusal.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import { accepted, behindFailure, refused } from "./forward_answers.ts";
import {
  type MailboxPairs,
  newTicket,
  type Pair,
  type Sender,
  type Ticket,
} from "./mailbox_pairs.ts";
import type { IdRecord, MailboxMessage, PreparedBody } from "./mailbox_records.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/** What the intake needs from the desk around it. */
export interface IntakeSurroundings {
  readonly store: KvMailboxStore;
  readonly commit: GroupCommit;
  readonly capacity: Capacity;
  readonly host: Host;
  isPaired(peer: PeerId): boolean;
  /** Whether the disk takes `size` bytes and keeps its floor. */
  diskHasRoom(size: number): Promise<boolean>;
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
    const bodyHash = hash("sha256", request.encryptedPayload, "buffer");
    const first = pair.unanswered.get(id);
    const isSame = first !== undefined && equalBytes(first.hash, bodyHash);
    if (isSame && first.link === link) return first.answer;

    const size = request.encryptedPayload.length;
    sender.bytes += size;
    const arrival: Arrival = {
      request: { ...request, msgId: request.msgId.slice() },
      id,
      // A node Buffer may lie in a pool, which would be stored whole with it.
      hash: new Uint8Array(bodyHash),
      clash: first !== undefined && !isSame,
      link,
      earlier: isSame ? first.answer : undefined,
    };
    const answer = this.#answer(sender, pair, arrival).finally(() => {
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
    const lookup = arrival.earlier === undefined ? this.#findId(pair, request.msgId) : undefined;
    // Awaited in its turn; until then a failure must not count as unhandled.
    lookup?.catch(() => {});
    const turn = sender.admission.then(async () => {
      await arrival.earlier;
      const record = await (lookup ?? this.#findId(pair, request.msgId));
      return await this.#admit(sender, pair, arrival, record);
    });
    sender.admission = turn.catch(() => {});
    let verdict: Verdict;
    try {
      verdict = await turn;
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

  /** Ids begin with a time: one above all that were ever accepted needs no look at the disk. */
  #findId({ from, to, record }: Pair, msgId: Uint8Array): Promise<IdRecord | null> {
    const { value } = record;
    const isNew = value === undefined || compareBytes(msgId, value.highestId) > 0;
    return isNew ? Promise.resolve(null) : this.#around.store.findId(from, to, msgId);
  }

  async #admit(
    sender: Sender,
    pair: Pair,
    { request, hash, clash, link }: Arrival,
    record: IdRecord | null,
  ): Promise<Verdict> {
    const { capacity, isPaired, diskHasRoom, dropExpired } = this.#around;
    const { sequenceNumber: sequence, encryptedPayload: body } = request;
    const other = clash || (record !== null && !equalBytes(record.hash, hash));
    const known = other ? "other body" : record === null ? "no" : "same body";
    const recipient = pair.to.toString();
    const full =
      (capacity.overQuota(recipient, body.length) ?? capacity.overCount(recipient)) !== undefined;
    if (known === "no" && full) await dropExpired(pair.to);
    const diskFree = known !== "no" || await diskHasRoom(body.length);
    // Its sender begins again on a newer link, where what was refused on this one is forgotten.
    const next = pair.sequence.lastReserved + 1;
    if (link !== sender.link && sequence !== next) {
      return { kind: "answered", ack: refused(request, waitingFor(next), pair) };
    }
    const admission = admit(
      {
        senderPaired: isPaired(pair.from),
        recipientPaired: isPaired(pair.to),
        recipient,
        size: body.length,
        sequence,
        known,
        diskHasRoom: diskFree,
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
          ...(record?.end && {
            delivered: record.end.delivered,
            rejectionReason: record.end.delivered ? null : record.end.reason,
          }),
        };
        if (!admission.advance) return { kind: "answered", ack };
        return { kind: "advance", ticket: newTicket(pair, sequence), ack };
      }
    }
  }

  async #store(pair: Pair, arrival: Arrival, ticket: Ticket): Promise<ForwardAck> {
    const { store, capacity, host } = this.#around;
    const { request, id, hash } = arrival;
    const { msgId, encryptedPayload: bytes, sequenceNumber: sequence } = request;
    let body: PreparedBody | undefined;
    let message: MailboxMessage | undefined;
    const failure = await this.#commitInTurn(pair, ticket, async () => {
      body = await store.prepareBody(bytes);
      const stored = body;
      return () => {
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
          body: stored.value,
        };
        return store.addOps(message, pair.record, stored);
      };
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
    const { host } = this.#around;
    const change = pair.record.change((state) =>
      state && ({
        ...state,
        lastAccepted: ticket.sequence,
        at: host.now(),
      })
    );
    const failure = await this.#commitInTurn(pair, ticket, () => Promise.resolve(() => [change]));
    if (failure !== undefined) return refused(request, failure, pair);
    return { ...ack, lastSequence: pair.sequence.lastAccepted };
  }

  /**
   * Commits what `prepare` yields once every earlier ticket of the pair has been handed in. When
   * one fails, those behind it fail too. Returns the reason of a failure.
   */
  async #commitInTurn(
    pair: Pair,
    ticket: Ticket,
    prepare: () => Promise<() => KvOperation[]>,
  ): Promise<string | undefined> {
    const { commit } = this.#around;
    try {
      const operations = await prepare();
      await ticket.after;
      if (ticket.givenUp) return behindFailure(pair);
      const durable = commit.commit(operations(), { lane: pair });
      ticket.done();
      await durable;
      pair.sequence.committed(ticket.sequence);
      return undefined;
    } catch (error) {
      if (ticket.givenUp) return behindFailure(pair);
      pair.sequence.failed(ticket.sequence);
      for (const other of pair.tickets) {
        if (other.sequence > ticket.sequence) other.givenUp = true;
      }
      if (error instanceof CairnError && error.code === "disk-full") return DISK_FULL;
      log.error("A message could not be stored: {error}", { error });
      return NOT_STORED;
    } finally {
      ticket.done();
      pair.tickets.delete(ticket);
    }
  }
}
