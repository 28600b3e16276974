/**
 * Finds the pairs of addresses over which two peers' datagrams pass, and keeps to the best of them
 * (RFC 8445, RFC 7675), without sockets or clock. Roles follow from who offered, there is one
 * component, and checks go on for the life of the session: a better pair is taken when it answers,
 * and one that falls silent is left for another.
 */

import type { AddressPort } from "../../base/address.ts";
import { readU32, toHex } from "../../base/bytes.ts";
import { MessageClass, type StunMessage, TRANSACTION_ID_LENGTH } from "../stun/message.ts";
import type { CandidatePair, LocalBase } from "./candidate_pair.ts";
import { candidatePriority, type UdpCandidate } from "./candidates.ts";
import { CheckList } from "./check_list.ts";
import {
  type CheckCredentials,
  type CheckRole,
  encodeCheck,
  encodeCheckResponse,
  verifyCheck,
  verifyCheckResponse,
} from "./connectivity_check.ts";

/** Milliseconds between the beginnings of two checks (RFC 8445 section 14.2). */
const PACING = 50;
/** Milliseconds for which a relayed pair waits for a direct one. */
const HEAD_START = 300;
/** Consent is asked for again after 4 to 6 s (RFC 7675 section 5.1). */
const CONSENT_INTERVAL = 5_000;
/** Valid pairs that are not used: as often as a NAT forgets (RFC 8445 section 11). */
const SPARE_INTERVAL = 15_000;
/** Pairs that failed, as long as no better one is in use. */
const RETRY_INTERVAL = 10_000;
const MAX_RETRIES = 6;
/** Milliseconds without any answer after which the session has ended. */
const LOST_AFTER = 10_000;
/** Milliseconds for the first answer. */
const ESTABLISH_TIMEOUT = 20_000;

export interface IceSettings {
  readonly role: CheckRole;
  readonly local: CheckCredentials;
  /** Cryptographically random bytes. */
  readonly random: (length: number) => Uint8Array;
}

export type IceEffect =
  /** Sends a STUN message out of `base`. */
  | {
    readonly kind: "send";
    readonly base: LocalBase;
    readonly to: AddressPort;
    readonly bytes: Uint8Array;
  }
  /** Datagrams to the peer go this way. */
  | { readonly kind: "selected"; readonly pair: CandidatePair }
  /** Whether the selected pair answers. */
  | { readonly kind: "steady"; readonly isSteady: boolean }
  /** No pair answers: the session has ended. */
  | { readonly kind: "lost" };

export class IceAgent {
  readonly #settings: IceSettings;
  readonly #pairs: CheckList;
  readonly #startedAt: number;
  #remoteCredentials: CheckCredentials | undefined;
  #selected: CandidatePair | undefined;
  #isSteady = true;
  #lastAnswerAt: number | undefined;
  #nextCheckAt = 0;
  #effects: IceEffect[] = [];
  #hasEnded = false;

  /** Times, here and below, are monotonic milliseconds. */
  constructor(settings: IceSettings, now: number) {
    this.#settings = settings;
    this.#pairs = new CheckList(settings.role);
    this.#startedAt = now;
  }

  get selected(): CandidatePair | undefined {
    return this.#selected;
  }

  /** Every pair, for those who want to know what was tried. */
  get pairs(): Iterable<CandidatePair> {
    return this.#pairs;
  }

  /** What the remote signs with, from its sealed message; no check is sent before. */
  setRemoteCredentials(credentials: CheckCredentials): void {
    this.#remoteCredentials = credentials;
  }

  /** A way out of this machine. */
  addBase(base: LocalBase): void {
    this.#pairs.addBase(base);
  }

  /** The way is gone, with all pairs on it. */
  removeBase(id: string, now: number): void {
    this.#pairs.removeBase(id);
    if (this.#selected?.base.id !== id) return;
    this.#selected = undefined;
    this.#checkOthers(now);
    this.#choose(now);
  }

  /** An address that the remote says it has. */
  addRemote(candidate: UdpCandidate): void {
    this.#pairs.addRemote(candidate);
  }

  /** Whether datagrams from there are the remote's: it has proved so by a check. */
  knows(baseId: string, source: AddressPort): boolean {
    return this.#pairs.get(baseId, source)?.isProven ?? false;
  }

  /**
   * Takes a STUN message from `source`. Returns whether it was an authentic one of the remote, whose
   * datagrams may then be taken from there.
   */
  receive(message: StunMessage, baseId: string, source: AddressPort, now: number): boolean {
    if (this.#hasEnded) return false;
    return message.messageClass === MessageClass.Request
      ? this.#receiveRequest(message, baseId, source, now)
      : this.#receiveResponse(message, baseId, source, now);
  }

  /** The network has changed: everything is checked again at once, or only what has failed. */
  recheck(now: number, which: "all" | "failed" = "all"): void {
    for (const pair of this.#pairs) {
      if (which === "failed" && pair.state !== "failed") continue;
      pair.failures = 0;
      pair.hurry(now);
    }
  }

  /** Nothing comes back on the selected pair: it is checked at once. */
  doubt(now: number): void {
    if (this.#selected && !this.#selected.isChecking) this.#selected.hurry(now);
  }

  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextDeadline(): number {
    if (this.#hasEnded) return Infinity;
    const end = this.#endsAt();
    if (!this.#remoteCredentials) return end;
    const next = Math.min(end, this.#pairs.nextDeadline(this.#nextCheckAt));
    const isHoldingBack = !this.#selected && this.#pairs.best() !== undefined;
    return isHoldingBack ? Math.min(next, this.#startedAt + HEAD_START) : next;
  }

  advance(now: number): void {
    if (this.#hasEnded) return;
    for (const pair of this.#pairs) this.#resend(pair, now);
    this.#judge(now);
    if (now >= this.#endsAt()) {
      this.#hasEnded = true;
      this.#effects.push({ kind: "lost" });
      return;
    }
    const due = now >= this.#nextCheckAt ? this.#pairs.due(now) : undefined;
    if (due) this.#begin(due, now);
    this.#choose(now);
  }

  takeEffects(): IceEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #receiveRequest(
    message: StunMessage,
    baseId: string,
    source: AddressPort,
    now: number,
  ): boolean {
    const { local, role } = this.#settings;
    const check = verifyCheck(message, local);
    const pair = check && this.#pairs.learn(baseId, source);
    if (!check || !pair) return false;
    const bytes = encodeCheckResponse(message, local, source);
    this.#effects.push({ kind: "send", base: pair.base, to: pair.remote, bytes });
    pair.isProven = true;
    // A triggered check (RFC 8445 section 7.3.1.4): the way seems open just now.
    if (pair.state !== "valid" && !pair.isChecking) this.#begin(pair, now);
    if (role === "controlled" && check.nominates) this.#select(pair, now);
    return true;
  }

  #receiveResponse(
    message: StunMessage,
    baseId: string,
    source: AddressPort,
    now: number,
  ): boolean {
    const pair = this.#pairs.get(baseId, source);
    const remote = this.#remoteCredentials;
    if (!pair?.awaits(toHex(message.transactionId)) || !remote) return false;
    if (!verifyCheckResponse(message, remote)) return false;
    this.#lastAnswerAt = now;
    pair.succeed(now + (pair === this.#selected ? this.#consentInterval() : SPARE_INTERVAL));
    this.#judge(now);
    this.#choose(now);
    return true;
  }

  #resend(pair: CandidatePair, now: number): void {
    const bytes = pair.resend(now);
    if (bytes === undefined) return;
    if (bytes !== "failed") {
      this.#effects.push({ kind: "send", base: pair.base, to: pair.remote, bytes });
      return;
    }
    const current = this.#selected;
    const isWanted = !current || !isInUse(current) || pair.priority > current.priority;
    const isHopeless = pair.failures >= MAX_RETRIES;
    pair.checkAt = isWanted && !isHopeless ? now + RETRY_INTERVAL : Infinity;
  }

  /** Says whether the selected pair still answers. */
  #judge(now: number): void {
    const isSteady = this.#selected === undefined || isInUse(this.#selected);
    if (isSteady === this.#isSteady) return;
    this.#isSteady = isSteady;
    this.#effects.push({ kind: "steady", isSteady });
    if (!isSteady) this.#checkOthers(now);
  }

  /** When the session ends if no answer comes; `Infinity` while it has a pair that works. */
  #endsAt(): number {
    if (this.#lastAnswerAt === undefined) return this.#startedAt + ESTABLISH_TIMEOUT;
    return this.#selected && this.#isSteady ? Infinity : this.#lastAnswerAt + LOST_AFTER;
  }

  #begin(pair: CandidatePair, now: number): void {
    const { role, local, random } = this.#settings;
    const remote = this.#remoteCredentials;
    if (!remote) return;
    const transactionId = random(TRANSACTION_ID_LENGTH);
    const bytes = encodeCheck({
      transactionId,
      role,
      local,
      remote,
      priority: candidatePriority("prflx", pair.remote),
      nominate: role === "controlling" && pair === this.#selected,
    });
    pair.begin({ id: toHex(transactionId), bytes }, now);
    this.#nextCheckAt = now + PACING;
    this.#effects.push({ kind: "send", base: pair.base, to: pair.remote, bytes });
  }

  /** Takes a better pair, or another one in place of one that fell silent. */
  #choose(now: number): void {
    const best = this.#pairs.best();
    const current = this.#selected;
    if (!best || best === current) return;
    if (current && isInUse(current)) {
      // The controlled side follows what the other one nominates.
      const isBetter = best.priority > current.priority;
      if (this.#settings.role === "controlled" || !isBetter) return;
    }
    const isEarly = now < this.#startedAt + HEAD_START;
    if (!current && best.isRelayed && isEarly && this.#pairs.hopesForDirect) return;
    this.#select(best, now);
    // Says at once which pair it is, and again with every later check.
    if (this.#settings.role === "controlling") best.hurry(now);
  }

  #select(pair: CandidatePair, now: number): void {
    if (pair === this.#selected) return;
    this.#selected = pair;
    this.#effects.push({ kind: "selected", pair });
    this.#judge(now);
  }

  #checkOthers(now: number): void {
    for (const pair of this.#pairs) {
      if (pair !== this.#selected && !pair.isChecking) pair.hurry(now);
    }
  }

  #consentInterval(): number {
    return CONSENT_INTERVAL * (0.8 + 0.4 * readU32(this.#settings.random(4), 0) / 2 ** 32);
  }
}

/** A nominated pair counts while its first check is under way. */
function isInUse(pair: CandidatePair): boolean {
  return pair.isTrusted || pair.state === "checking" || pair.state === "waiting";
}
