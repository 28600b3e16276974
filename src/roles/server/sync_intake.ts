import { getLogger } from "@logtape/logtape";
import { compareBytes, equalBytes, toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import {
  DISK_FULL,
  NOT_STORED,
  SENDER_NOT_PAIRED,
  waitingFor,
} from "../../protocol/mailbox/refusal.ts";
import { admitTogether, type SharedOffer } from "../../protocol/mailbox/shared_admission.ts";
import type { SyncAck, SyncRequest } from "../../protocol/sync_messages.ts";
import type { KvOperation } from "../group_commit.ts";
import type { PreparedShared } from "../shared_bodies.ts";
import { behindFailure } from "./forward_answers.ts";
import type { IntakeSurroundings } from "./mailbox_intake.ts";
import { decideInTurn, type MailboxPairs, type Sender } from "./mailbox_pairs.ts";
import type { IdRecord, MailboxMessage } from "./mailbox_records.ts";
import { hashOf, hashOfBoth } from "./mailbox_shared.ts";
import {
  acceptedAnswer,
  type Admitted,
  admittedOf,
  giveUp,
  type Part,
  refuse,
  refusedForAll,
  refuseStrangers,
} from "./sync_parts.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/** What is under way when a request comes. */
interface Surroundings {
  /** The link that it came on. */
  readonly link: number;
  /** Answers to requests with the id of one of its parts, and to all of its pairs. */
  readonly repeated: readonly (Promise<unknown> | undefined)[];
  readonly earlier: readonly Promise<unknown>[];
}

/** What admission decided. */
interface Decided {
  readonly answer?: SyncAck;
  readonly admitted: readonly Admitted[];
  readonly records: readonly (IdRecord | null)[];
  readonly saved: number;
}

/** Takes in messages to several recipients: for all of them in one commit, or for none. */
export class SyncIntake {
  readonly #around: IntakeSurroundings;
  readonly #pairs: MailboxPairs;

  constructor(surroundings: IntakeSurroundings, pairs: MailboxPairs) {
    this.#around = surroundings;
    this.#pairs = pairs;
  }

  /** Resolves when the message is durable for all, or refused. Never rejects. */
  take(from: PeerId, request: SyncRequest, onLink?: number): Promise<SyncAck> {
    const { isPaired } = this.#around;
    if (!isPaired(from)) return Promise.resolve(refusedForAll(request, SENDER_NOT_PAIRED));
    const sender = this.#pairs.sender(from);
    const known = request.rows.map(({ recipient }) =>
      isPaired(recipient) ? this.#pairs.pair(sender, recipient, true) : undefined
    );
    if (known.includes(undefined)) return Promise.resolve(refuseStrangers(request, known));
    const sharedHash = hashOf(request.sharedBody);
    const parts = request.rows.flatMap((row, index): Part[] => {
      const pair = known[index];
      return pair === undefined ? [] : [{
        row: { ...row, msgId: row.msgId.slice() },
        pair,
        id: toHex(row.msgId),
        hash: hashOfBoth(row.encryptedPayload, sharedHash),
        size: row.encryptedPayload.length + request.sharedBody.length,
      }];
    });
    const notes = request.rows.reduce((sum, row) => sum + row.encryptedPayload.length, 0);
    const size = request.sharedBody.length + notes;
    sender.bytes += size;
    const answer = this.#answer(sender, request, parts, {
      link: onLink ?? sender.link,
      repeated: parts.map(({ pair, id }) => pair.unanswered.get(id)?.answer),
      // Requests behind this one in the order of a pair wait for it; it waits for those before it.
      earlier: parts.flatMap(({ pair }) =>
        [...pair.unanswered.values()].map(({ answer }) => answer)
      ),
    }).finally(() => sender.bytes -= size);
    for (const [index, part] of parts.entries()) this.#note(part, index, sender.link, answer);
    return answer;
  }

  /** Until it is answered, a repeat of a part waits for this one. */
  #note({ pair, id, hash, row }: Part, index: number, link: number, answer: Promise<SyncAck>) {
    const own = answer.then(({ accepted, answers }): ForwardAck => ({
      msgId: row.msgId,
      accepted,
      rejectionReason: answers[index]?.rejectionReason ?? null,
    })).finally(() => {
      if (pair.unanswered.get(id)?.answer === own) pair.unanswered.delete(id);
    });
    pair.unanswered.set(id, { hash, link, answer: own });
  }

  async #answer(
    sender: Sender,
    request: SyncRequest,
    parts: readonly Part[],
    { link, repeated, earlier }: Surroundings,
  ): Promise<SyncAck> {
    try {
      const { answer, admitted, records, saved } = await decideInTurn(sender, async () => {
        await Promise.all(repeated);
        return await this.#admit(sender, request, parts, link);
      });
      if (answer !== undefined) return answer;
      const failure = admitted.length === 0
        ? undefined
        : await this.#store(request, admitted, saved, earlier);
      if (failure !== undefined) {
        return refuse(request, parts, parts.map(() => failure));
      }
      return {
        id: request.id,
        accepted: true,
        answers: parts.map((part, index) => acceptedAnswer(part, records[index] ?? null)),
      };
    } catch (error) {
      log.error("A message to several peers could not be looked up: {error}", { error });
      for (const { pair, row } of parts) pair.sequence.refuse(row.sequenceNumber);
      return refuse(request, parts, parts.map(() => NOT_STORED));
    }
  }

  async #admit(
    sender: Sender,
    request: SyncRequest,
    parts: readonly Part[],
    link: number,
  ): Promise<Decided> {
    const { capacity, isPaired, diskHasRoom, dropExpired } = this.#around;
    const records = await Promise.all(parts.map((part) => this.#findId(part)));
    for (const [index, { pair, size }] of parts.entries()) {
      const recipient = pair.to.toString();
      const full = (capacity.overQuota(recipient, size) ?? capacity.overCount(recipient)) !==
        undefined;
      if (records[index] === null && full) await dropExpired(pair.to);
    }
    const isNew = records.includes(null);
    const diskFree = !isNew || await diskHasRoom(request.sharedBody.length);
    const nothing = { admitted: [], records, saved: 0 };
    // Its sender begins again on a newer link, where what was refused on this one is forgotten.
    const next = ({ pair }: Part) => pair.sequence.lastReserved + 1;
    if (link !== sender.link && parts.some((part) => part.row.sequenceNumber !== next(part))) {
      const reasons = parts.map((part) => waitingFor(next(part)));
      return { ...nothing, answer: refuse(request, parts, reasons) };
    }
    const offers = parts.map(({ pair, row, size, hash }, index): SharedOffer => {
      const record = records[index] ?? null;
      const isSame = record !== null && equalBytes(record.hash, hash);
      return {
        offer: {
          senderPaired: isPaired(pair.from),
          recipientPaired: isPaired(pair.to),
          recipient: pair.to.toString(),
          size,
          sequence: row.sequenceNumber,
          known: record === null ? "no" : isSame ? "same body" : "other body",
          diskHasRoom: diskFree,
        },
        pair: pair.sequence,
      };
    });
    const admission = admitTogether(offers, request.sharedBody.length, capacity);
    if (admission.kind === "refuse") {
      return { ...nothing, answer: refuse(request, parts, admission.reasons) };
    }
    return { records, saved: admission.saved, admitted: admittedOf(parts, admission) };
  }

  /** Ids begin with a time: one above all that were ever accepted needs no look at the disk. */
  #findId({ pair: { from, to, record }, row: { msgId } }: Part): Promise<IdRecord | null> {
    const { value } = record;
    const isNew = value === undefined || compareBytes(msgId, value.highestId) > 0;
    return isNew ? Promise.resolve(null) : this.#around.store.findId(from, to, msgId);
  }

  /** One commit for all that was admitted. Returns the reason of a failure. */
  async #store(
    request: SyncRequest,
    admitted: readonly Admitted[],
    saved: number,
    earlier: readonly Promise<unknown>[],
  ): Promise<string | undefined> {
    const { store, commit, capacity } = this.#around;
    const stored = admitted.filter(({ kind }) => kind === "store").map(({ part }) => part);
    let body: PreparedShared | undefined;
    try {
      if (stored.length > 0) body = await store.shared.prepare(request.sharedBody);
      await Promise.all(earlier);
      for (const { ticket } of admitted) await ticket.after;
      const behind = admitted.find(({ ticket }) => ticket.givenUp);
      if (behind !== undefined) throw new Error(behindFailure(behind.part.pair));
      const messages = stored.map((part) => this.#message(part, request, body));
      await commit.commit(this.#operations(request, admitted, messages, body));
      for (const { part: { pair }, ticket } of admitted) pair.sequence.committed(ticket.sequence);
      for (const message of messages) this.#around.accepted(message);
      return undefined;
    } catch (error) {
      giveUp(admitted);
      for (const { pair, size } of stored) capacity.give(pair.to.toString(), size);
      capacity.save(-saved);
      if (body !== undefined) await store.shared.abandon(body);
      if (error instanceof CairnError && error.code === "disk-full") return DISK_FULL;
      log.error("A message to several peers could not be stored: {error}", { error });
      return NOT_STORED;
    } finally {
      for (const { part: { pair }, ticket } of admitted) {
        ticket.done();
        pair.tickets.delete(ticket);
      }
    }
  }

  #operations(
    { sharedBody }: SyncRequest,
    admitted: readonly Admitted[],
    messages: readonly MailboxMessage[],
    body: PreparedShared | undefined,
  ): KvOperation[] {
    const { store, host } = this.#around;
    const at = host.now();
    const added = messages.flatMap((message) => {
      return store.addOps(message, this.#pairs.record(message.from, message.to));
    });
    const advanced = admitted.filter(({ kind }) => kind === "advance").map(({ part, ticket }) =>
      part.pair.record.change((state) => state && { ...state, lastAccepted: ticket.sequence, at })
    );
    const shared = body && store.shared.addOps(body, sharedBody.length, messages.length);
    return [...added, ...advanced, ...shared ?? []];
  }

  #message(
    { pair, row, id, hash, size }: Part,
    { sharedBody }: SyncRequest,
    body: PreparedShared | undefined,
  ): MailboxMessage {
    const { store, host } = this.#around;
    if (body === undefined) throw new TypeError("A message without its body");
    return {
      order: store.nextOrder(),
      id,
      sender: pair.from.toString(),
      size,
      acceptedAt: host.now(),
      msgId: row.msgId,
      from: pair.from,
      to: pair.to,
      sequence: row.sequenceNumber,
      hash,
      body: {
        shared: body.name,
        sharedSize: sharedBody.length,
        own: row.encryptedPayload.slice(),
      },
    };
  }
}
