import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { ageOf, ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxPairs } from "./mailbox_pairs.ts";
import type { Ended, MailboxMessage, Outcome } from "./mailbox_records.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

const DAY_MS = 24 * 60 * 60 * 1000;
/** How long a receipt waits for a sender that stays away. */
const RECEIPT_KEPT_MS = 90 * DAY_MS;
const PAGE = 200;
const PAGES_PER_SWEEP = 50;

export interface SweepSurroundings {
  readonly store: KvMailboxStore;
  readonly commit: GroupCommit;
  readonly host: Host;
  readonly maxAgeMs: number;
  isPaired(peer: PeerId): boolean;
  end(messages: readonly MailboxMessage[], outcome: Outcome): Promise<number>;
}

/** Lets time pass in the mailbox, as far as the clock may be believed. */
export class MailboxSweep {
  readonly #around: SweepSurroundings;
  readonly #clock: ExpiryClock;

  constructor(surroundings: SweepSurroundings) {
    this.#around = surroundings;
    const { host } = surroundings;
    this.#clock = new ExpiryClock(host.now(), host.monotonic());
  }

  /** Never rejects: what could not be done is done by a later run. */
  async run(waiting: readonly MailboxMessage[], pairs: MailboxPairs): Promise<void> {
    await this.expire(waiting);
    if (!this.#believed()) return;
    try {
      await this.#forgetIds();
      await this.#forgetPairs(pairs);
    } catch (error) {
      log.error("Old records could not be removed: {error}", { error });
    }
  }

  /** Ends those of `messages` that have waited too long. Never rejects either. */
  async expire(messages: readonly MailboxMessage[]): Promise<void> {
    if (!this.#believed()) return;
    const { host, maxAgeMs, end } = this.#around;
    const now = host.now();
    const expired: MailboxMessage[] = [];
    const implausible: MailboxMessage[] = [];
    for (const message of messages) {
      if (message.ending) continue;
      const age = ageOf(message.acceptedAt, now);
      if (age === "implausible") implausible.push(message);
      else if (age > maxAgeMs) expired.push(message);
    }
    try {
      await end(expired, { delivered: false, reason: "expired" });
      await Promise.all(implausible.map((message) => this.#restamp(message, now)));
    } catch (error) {
      log.error("Expired messages could not be removed: {error}", { error });
    }
  }

  #believed(): boolean {
    const { host } = this.#around;
    return this.#clock.observe(host.now(), host.monotonic());
  }

  /** The clock was wrong when this message came: its time to wait starts now. */
  async #restamp(message: MailboxMessage, now: number): Promise<void> {
    const { store, commit } = this.#around;
    // Behind its end this would bring back a record whose body is gone.
    if (message.ending) return;
    message.acceptedAt = now;
    await commit.commit(store.restampOps(message));
  }

  async #forgetIds(): Promise<void> {
    const { store, commit, host } = this.#around;
    const now = host.now();
    for (let page = 0; page < PAGES_PER_SWEEP; page++) {
      const due = (await store.ended(PAGE)).filter(({ forgetAt }) => forgetAt <= now);
      if (due.length === 0) return;
      await Promise.all(due.map(async (ended) => {
        const ops = await this.#isAwaited(ended, now)
          ? store.rememberOps(ended, now + this.#around.maxAgeMs)
          : store.forgetOps(ended, await this.#receiptOf(ended));
        await commit.commit(ops, { freesSpace: true });
      }));
    }
  }

  /** Whether the sender has yet to come for the receipt, and is still waited for. */
  async #isAwaited(ended: Ended, now: number): Promise<boolean> {
    const { store, isPaired } = this.#around;
    const end = (await store.findId(ended.from, ended.to, ended.msgId))?.end;
    if (end === undefined || end.receipt === null || !isPaired(ended.from)) return false;
    const age = ageOf(end.at, now);
    if (age !== "implausible" && age > RECEIPT_KEPT_MS) return false;
    return await store.hasReceipt(ended.from, end.receipt);
  }

  async #receiptOf({ from, to, msgId }: Ended): Promise<number | null> {
    return (await this.#around.store.findId(from, to, msgId))?.end?.receipt ?? null;
  }

  /** Sequences of peers that are no longer paired, once every id of theirs is forgotten. */
  async #forgetPairs(pairs: MailboxPairs): Promise<void> {
    const { store, commit, host, maxAgeMs, isPaired } = this.#around;
    for (const { from, to } of pairs.idle(host.now() - 3 * maxAgeMs)) {
      if (isPaired(from) && isPaired(to)) continue;
      await commit.commit([store.forgetPairOp(from, to)], { freesSpace: true });
      pairs.forget(from, to);
    }
  }
}
