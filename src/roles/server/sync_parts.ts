import type { SyncAck, SyncAnswer, SyncRequest, SyncRow } from "../../protocol/sync_messages.ts";
import { RECIPIENT_NOT_PAIRED } from "../../protocol/mailbox/refusal.ts";
import type { SharedAdmission } from "../../protocol/mailbox/shared_admission.ts";
import { newTicket, type Pair, type Ticket } from "./mailbox_pairs.ts";
import type { IdRecord } from "./mailbox_records.ts";

/** One recipient's part of a message to several. */
export interface Part {
  readonly row: SyncRow;
  readonly pair: Pair;
  readonly id: string;
  readonly hash: Uint8Array;
  /** Bytes that count for the recipient. */
  readonly size: number;
}

/** A part that was admitted. */
export interface Admitted {
  readonly part: Part;
  readonly ticket: Ticket;
  /** `advance`: it was stored before, and has another number. */
  readonly kind: "store" | "advance";
}

/** What has a place in the order of its pair; a repeat that does not advance needs none. */
export function admittedOf(
  parts: readonly Part[],
  { admissions }: SharedAdmission & { kind: "admit" },
): Admitted[] {
  return parts.flatMap((part, index): Admitted[] => {
    const admission = admissions[index];
    if (admission === undefined) return [];
    if (admission.kind === "repeat" && !admission.advance) return [];
    const kind = admission.kind === "store" ? "store" : "advance";
    return [{ part, kind, ticket: newTicket(part.pair, part.row.sequenceNumber) }];
  });
}

/** None of them was stored: what comes behind them in their pairs is not either. */
export function giveUp(admitted: readonly Admitted[]): void {
  for (const { part: { pair }, ticket } of admitted) {
    if (!ticket.givenUp) pair.sequence.failed(ticket.sequence);
    for (const other of pair.tickets) {
      if (other.sequence > ticket.sequence) other.givenUp = true;
    }
  }
}

/** The answer to what is stored, now or before. */
export function acceptedAnswer({ row, pair }: Part, record: IdRecord | null): SyncAnswer {
  const { end } = record ?? {};
  return {
    recipient: row.recipient,
    rejectionReason: end === undefined || end.delivered ? null : end.reason,
    lastSequence: pair.sequence.lastAccepted,
    // The receipt may be gone already; a sender that asks again has not seen it.
    ...(end && { delivered: end.delivered }),
  };
}

/** The answer to what is not, with the reasons of those recipients that have one. */
export function refuse(
  { id }: SyncRequest,
  parts: readonly Part[],
  reasons: readonly (string | undefined)[],
): SyncAck {
  const answers = parts.map(({ row, pair }, index) => ({
    recipient: row.recipient,
    rejectionReason: reasons[index] ?? null,
    lastSequence: pair.sequence.lastAccepted,
  }));
  return { id, accepted: false, answers };
}

/** The answer when some recipients are not paired: the numbers of the others are awaited again. */
export function refuseStrangers(
  { id, rows }: SyncRequest,
  pairs: readonly (Pair | undefined)[],
): SyncAck {
  const answers = rows.map(({ recipient, sequenceNumber }, index) => {
    const sequence = pairs[index]?.sequence;
    sequence?.refuse(sequenceNumber);
    const rejectionReason = sequence === undefined ? RECIPIENT_NOT_PAIRED : null;
    return { recipient, rejectionReason, lastSequence: sequence?.lastAccepted ?? 0 };
  });
  return { id, accepted: false, answers };
}

/** The answer when it is not about any single recipient. */
export function refusedForAll({ id, rows }: SyncRequest, rejectionReason: string): SyncAck {
  const answers = rows.map(({ recipient }) => ({ recipient, rejectionReason, lastSequence: 0 }));
  return { id, accepted: false, answers };
}
