import { toHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  encodeSyncRequest,
  MAX_SYNC_RECIPIENTS,
  type SyncAck,
  type SyncRow,
} from "../../protocol/sync_messages.ts";
import { messageId } from "../../protocol/uuid.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { linkEnded, Questions } from "./questions.ts";
import { FOR_ANOTHER } from "./refusals.ts";
import type { Prepared } from "./sealer.ts";
import type { SendWindow } from "./send_window.ts";

/** How long those recipients are waited for that are not as far yet; they get their own request. */
const GATHER_MS = 200;
/** Room of one request, in bytes: an envelope, without what is around the parts. */
const MAX_REQUEST = 1_048_576 - 1_024;
/** Bytes around each recipient's part. */
const ROW_OVERHEAD = 80;

/** What gathering stands on. */
export interface SyncOffersParts {
  readonly link: LinkConnection;
  readonly window: SendWindow;
  readonly host: Host;
  /** The same message for each recipient that this mailbox is to bring it to. */
  readonly expected: (entry: OutboxEntry) => readonly OutboxEntry[];
}

/** A message on its way to a mailbox. */
export interface Offer {
  /** Resolves when it has left: what is behind it in its recipient's order may follow. */
  readonly left: Promise<void>;
  readonly answer: Promise<ForwardAck>;
}

interface Gathering {
  readonly sharedBody: Uint8Array;
  readonly rows: SyncRow[];
  size: number;
  readonly timer: ReturnType<typeof setTimeout>;
  readonly left: PromiseWithResolvers<void>;
  readonly ack: PromiseWithResolvers<SyncAck>;
}

/** Puts the parts of a message to several recipients together, so that its body goes up once. */
export class SyncOffers {
  readonly #parts: SyncOffersParts;
  readonly #gatherings = new Map<string, Gathering>();
  readonly #acks = new Questions<SyncAck>();
  /** Gathered, sent or accepted: nobody waits for them. */
  readonly #offered = new WeakSet<OutboxEntry>();
  /**
   * Recipients that were refused, or missed a gathering: nobody waits for them until they had a
   * part accepted that they offered while another one's was under way, too.
   */
  readonly #late = new Set<string>();

  constructor(parts: SyncOffersParts) {
    this.#parts = parts;
  }

  /** One recipient's part is ready. */
  offer(entry: OutboxEntry, { wire, body }: Prepared, sharedBody: Uint8Array): Offer {
    const name = toHex(entry.id);
    const size = body.length + ROW_OVERHEAD;
    const open = this.#gatherings.get(name);
    if (open && open.size + size > MAX_REQUEST) this.#flush(name, open);
    const gathering = this.#gatherings.get(name) ?? this.#open(name, entry, sharedBody);
    gathering.rows.push({
      recipient: entry.recipient,
      msgId: wire.outerId,
      encryptedPayload: body,
      sequenceNumber: wire.sequence,
    });
    gathering.size += size;
    this.#offered.add(entry);
    const expected = this.#parts.expected(entry);
    const missing = expected.filter((each) => !this.#offered.has(each));
    const isFull = gathering.rows.length >= MAX_SYNC_RECIPIENTS;
    if (isFull || missing.every((each) => this.#isLate(each))) this.#flush(name, gathering);
    // Another one's part has yet to be accepted, too.
    const isInTime = expected.length > 1;
    const answer = gathering.ack.promise.then((ack) => {
      const own = answerFor(entry, wire.outerId, ack);
      if (!ack.accepted) this.#offered.delete(entry);
      const text = entry.recipient.toString();
      if (own.accepted && isInTime) this.#late.delete(text);
      else if (!own.accepted && own.rejectionReason !== FOR_ANOTHER) this.#late.add(text);
      return own;
    }, (error) => {
      this.#offered.delete(entry);
      throw error;
    });
    return { left: gathering.left.promise, answer };
  }

  onAck(ack: SyncAck): void {
    this.#acks.answer(toHex(ack.id), ack);
  }

  /** Ends with the link. */
  close(): void {
    this.#acks.close();
    for (const { timer, left, ack } of this.#gatherings.values()) {
      clearTimeout(timer);
      left.reject(linkEnded());
      ack.reject(linkEnded());
    }
    this.#gatherings.clear();
  }

  #isLate({ recipient }: OutboxEntry): boolean {
    return this.#late.has(recipient.toString());
  }

  #open(name: string, first: OutboxEntry, sharedBody: Uint8Array): Gathering {
    const gathering: Gathering = {
      sharedBody,
      rows: [],
      size: sharedBody.length,
      timer: setTimeout(() => {
        const missing = this.#parts.expected(first).filter((each) => !this.#offered.has(each));
        for (const { recipient } of missing) this.#late.add(recipient.toString());
        this.#flush(name, gathering);
      }, GATHER_MS),
      left: Promise.withResolvers(),
      ack: Promise.withResolvers(),
    };
    for (const { promise } of [gathering.left, gathering.ack]) promise.catch(() => {});
    this.#gatherings.set(name, gathering);
    return gathering;
  }

  #flush(name: string, gathering: Gathering): void {
    clearTimeout(gathering.timer);
    this.#gatherings.delete(name);
    this.#send(gathering).then(gathering.ack.resolve, (error) => {
      gathering.left.reject(error);
      gathering.ack.reject(error);
    });
  }

  async #send({ sharedBody, rows, size, left }: Gathering): Promise<SyncAck> {
    const { window, link, host } = this.#parts;
    await window.enter(size);
    try {
      const id = messageId(host.now(), host.random(10));
      const answer = this.#acks.ask(toHex(id), () => {
        link.send(MessageType.SyncRequest, encodeSyncRequest({ id, sharedBody, rows }));
      });
      left.resolve();
      return await answer;
    } finally {
      window.leave(size);
    }
  }
}

/** What an answer means for one recipient; without a reason of its own it is to be offered again. */
function answerFor({ recipient }: OutboxEntry, msgId: Uint8Array, ack: SyncAck): ForwardAck {
  const own = ack.answers.find((answer) => answer.recipient.equals(recipient));
  return {
    msgId,
    accepted: ack.accepted,
    rejectionReason: own?.rejectionReason ?? (ack.accepted ? null : FOR_ANOTHER),
    ...(own && { lastSequence: own.lastSequence }),
    ...(own?.delivered !== undefined && { delivered: own.delivered }),
  };
}
