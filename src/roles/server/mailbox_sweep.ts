import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { ageOf, ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { Lane, MailboxDelivery } from "./mailbox_delivery.ts";
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
  readonly delivery: MailboxDelivery;
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
  async run(pairs: MailboxPairs): Promise<void> {
    await this.expire();
    if (!this.#believed()) return;
    try {
      await this.#forgetIds();
      await this.#forgetPairs(pairs);
    } catch (error) {
      log.error("Old records could not be removed: {error}", { error });
    }
  }

  /** Ends what has waited too long, for `recipient` or for everyone. Never rejects either. */
  async expire(recipient?: PeerId): Promise<void> {
    if (!this.#believed()) return;
    const { host, delivery } = this.#around;
    const now = host.now();
    for (const lane of delivery.lanes(recipient)) {
      if (lane.head !== undefined && this.#judge(lane.head.acceptedAt, now) === "young") continue;
      try {
        await this.#expireLane(lane, now);
      } catch (error) {
        log.error("Expired messages could not be removed: {error}", { error });
      }
    }
  }

  /** From the oldest one on, as far as they have expired. */
  async #expireLane({ from, to }: Lane, now: number): Promise<void> {
    const { store, delivery, end } = this.#around;
    for (let after = -1;;) {
      const { messages, damaged, last, isLast } = await store.waiting(from, to, after, PAGE);
      for (const order of damaged) delivery.passOver(from, to, order);
      const firstYoung = messages.findIndex(({ acceptedAt }) =>
        this.#judge(acceptedAt, now) === "young"
      );
      const old = firstYoung < 0 ? messages : messages.slice(0, firstYoung);
      const expired = old.filter(({ acceptedAt }) => this.#judge(acceptedAt, now) === "expired");
      await end(expired, { delivered: false, reason: "expired" });
      for (const message of old) {
        if (!expired.includes(message)) await this.#restamp(message, now);
      }
      const young = messages[firstYoung];
      if (young !== undefined && old.length === expired.length) delivery.noteHead(young);
      if (isLast || young !== undefined) return;
      after = last;
    }
  }

  #judge(acceptedAt: number, now: number): "young" | "expired" | "implausible" {
    const age = ageOf(acceptedAt, now);
    if (age === "implausible") return age;
    return age > this.#around.maxAgeMs ? "expired" : "young";
  }

  #believed(): boolean {
    const { host } = this.#around;
    return this.#clock.observe(host.now(), host.monotonic());
  }

  /** The clock was wrong when this message came: its time to wait starts now. */
  async #restamp(message: MailboxMessage, now: number): Promise<void> {
    const { store, commit, delivery } = this.#around;
    const isThere = await store.isWaiting(message);
    // Behind its end this would bring back a record whose body is gone.
    if (!isThere || delivery.isEnding(message)) return;
    await commit.commit(store.restampOps({ ...message, acceptedAt: now }));
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
    const { commit, host, maxAgeMs, isPaired } = this.#around;
    for (const { from, to } of pairs.idle(host.now() - 3 * maxAgeMs)) {
      if (isPaired(from) && isPaired(to)) continue;
      const forgotten = pairs.record(from, to).change(() => undefined);
      await commit.commit([forgotten], { freesSpace: true });
      pairs.forget(from, to);
    }
  }
}
