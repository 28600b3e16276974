import { equalBytes } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { MailboxEvent } from "./mailbox_accounts.ts";
import type { KnownMessage, MailboxInquiry } from "./mailbox_inquiry.ts";

/** So many steps of all messages are remembered, the latest. */
const MAX_STEPS = 65_536;

/** Something that happened to a message. */
export interface TraceStep {
  /** `accepted`: its sender asked; `stored`: on the disk, and the sender told. */
  readonly step: "accepted" | "stored" | "offered" | "delivered" | "ended";
  /** Unix milliseconds. */
  readonly at: number;
  /** Why it ended without being delivered. */
  readonly reason: string | null;
}

/** What became of one message. */
export interface Trace {
  readonly from: PeerId;
  readonly to: PeerId;
  /** Bytes of the body; `undefined` when no longer known. */
  readonly size: number | undefined;
  readonly state: "waiting" | "delivered" | "ended";
  /** In order. What happened before this start of the server is there as far as the store has it. */
  readonly steps: readonly TraceStep[];
}

interface Remembered {
  readonly msgId: Uint8Array;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly size: number;
  readonly type: HeardEvent["type"];
  /** When it was heard. */
  readonly at: number;
  /** When its sender asked, where that is what happened. */
  readonly acceptedAt: number | undefined;
  readonly reason: string | null;
}

type HeardEvent = Exclude<MailboxEvent, { type: "refused" }>;

/**
 * The way of messages through the mailbox, without their content: the latest steps from memory,
 * which costs a message nothing on the disk, and from the store what outlives a restart: since when
 * it waits, or, for as long as its id is remembered, when and how it ended.
 */
export class MessageTrace {
  readonly #inquiry: Pick<MailboxInquiry, "find">;
  readonly #host: Host;
  readonly #maxSteps: number;
  readonly #ring: Remembered[] = [];
  #next = 0;

  constructor(inquiry: Pick<MailboxInquiry, "find">, host: Host, maxSteps = MAX_STEPS) {
    this.#inquiry = inquiry;
    this.#host = host;
    this.#maxSteps = maxSteps;
  }

  hear(event: MailboxEvent): void {
    if (event.type === "refused") return;
    const { from, to, size } = event;
    // A copy, because a view would keep all that the message came with.
    this.#ring[this.#next] = {
      msgId: event.msgId.slice(),
      from,
      to,
      size,
      type: event.type,
      at: this.#host.now(),
      acceptedAt: event.type === "accepted" ? event.acceptedAt : undefined,
      reason: event.type === "ended" ? event.reason : null,
    };
    this.#next = (this.#next + 1) % this.#maxSteps;
  }

  /** What is known of the messages of an id; each pair of peers may have one. */
  async of(msgId: Uint8Array): Promise<Trace[]> {
    const remembered = this.#remembered(msgId);
    const traces = new Map<string, Trace>();
    for (const known of await this.#inquiry.find(msgId)) {
      const own = remembered.filter(({ from, to }) =>
        from.equals(known.from) && to.equals(known.to)
      );
      traces.set(nameOf(known), this.#fromStore(known, own));
    }
    for (const { from, to, size } of remembered) {
      if (traces.has(nameOf({ from, to }))) continue;
      const own = remembered.filter((other) => other.from.equals(from) && other.to.equals(to));
      const steps = own.flatMap(stepsOf);
      traces.set(nameOf({ from, to }), { from, to, size, steps, state: stateOf(steps) });
    }
    return [...traces.values()];
  }

  /** In the order in which it happened. */
  #remembered(msgId: Uint8Array): Remembered[] {
    const inOrder = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return inOrder.filter((entry) => equalBytes(entry.msgId, msgId));
  }

  /** What the store says of its beginning and end counts, unless memory knows it, too. */
  #fromStore({ from, to, waiting, end }: KnownMessage, own: readonly Remembered[]): Trace {
    const steps = own.flatMap(stepsOf);
    if (waiting && !steps.some(({ step }) => step === "accepted")) {
      steps.unshift({ step: "accepted", at: waiting.acceptedAt, reason: null });
    }
    if (end && !steps.some(isEnd)) {
      steps.push(endStep(end.at, end.delivered ? null : end.reason));
    }
    const size = waiting?.size ?? own[0]?.size;
    return { from, to, size, steps, state: stateOf(steps) };
  }
}

function stepsOf({ type, at, acceptedAt = at, reason }: Remembered): TraceStep[] {
  switch (type) {
    case "accepted":
      return [
        { step: "accepted", at: acceptedAt, reason: null },
        { step: "stored", at, reason: null },
      ];
    case "offered":
      return [{ step: "offered", at, reason: null }];
    case "ended":
      return [endStep(at, reason)];
  }
}

function endStep(at: number, reason: string | null): TraceStep {
  return { step: reason === null ? "delivered" : "ended", at, reason };
}

function isEnd({ step }: TraceStep): boolean {
  return step === "delivered" || step === "ended";
}

function stateOf(steps: readonly TraceStep[]): Trace["state"] {
  const end = steps.find(isEnd);
  if (end === undefined) return "waiting";
  return end.step === "delivered" ? "delivered" : "ended";
}

function nameOf({ from, to }: Pick<Trace, "from" | "to">): string {
  return `${from} ${to}`;
}
