import type { AddressPort } from "../../base/address.ts";
import { CandidatePair, type LocalBase, pairKey } from "./candidate_pair.ts";
import type { UdpCandidate } from "./candidates.ts";
import type { CheckRole } from "./connectivity_check.ts";

const MAX_REMOTES = 24;
/** RFC 8445 section 6.1.2.5 recommends 100. */
const MAX_PAIRS = 96;

/** The pairs that two peers' candidates make (RFC 8445 section 6.1.2), bounded. */
export class CheckList {
  readonly #role: CheckRole;
  readonly #bases = new Map<string, LocalBase>();
  readonly #remotes = new Map<string, UdpCandidate>();
  readonly #pairs = new Map<string, CandidatePair>();

  constructor(role: CheckRole) {
    this.#role = role;
  }

  [Symbol.iterator](): Iterator<CandidatePair> {
    return this.#pairs.values();
  }

  addBase(base: LocalBase): void {
    this.#bases.set(base.id, base);
    for (const remote of this.#remotes.values()) this.#match(base, remote);
  }

  removeBase(id: string): void {
    this.#bases.delete(id);
    for (const [key, { base }] of this.#pairs) if (base.id === id) this.#pairs.delete(key);
  }

  /** Beyond 24 addresses they are ignored. */
  addRemote(candidate: UdpCandidate): void {
    const key = pairKey("", candidate.address);
    if (this.#remotes.has(key) || this.#remotes.size >= MAX_REMOTES) return;
    this.#remotes.set(key, candidate);
    for (const base of this.#bases.values()) this.#match(base, candidate);
  }

  get(baseId: string, remote: AddressPort): CandidatePair | undefined {
    return this.#pairs.get(pairKey(baseId, remote));
  }

  /** The pair of an address that proved to be the remote's; `undefined` where there is no room. */
  learn(baseId: string, { address, port }: AddressPort): CandidatePair | undefined {
    const base = this.#bases.get(baseId);
    const remote = { address: address.slice(), port };
    return base && this.#add(base, { type: "prflx", address: remote });
  }

  /** The best pair that can be relied on. */
  best(): CandidatePair | undefined {
    return this.#bestOf((pair) => pair.isTrusted);
  }

  /** The best pair whose check is due. */
  due(now: number): CandidatePair | undefined {
    return this.#bestOf((pair) => !pair.isChecking && pair.checkAt <= now);
  }

  /** When a pair has something to do, if no check may begin before `nextCheckAt`. */
  nextDeadline(nextCheckAt: number): number {
    let next = Infinity;
    for (const pair of this.#pairs.values()) {
      const at = pair.nextDeadline();
      next = Math.min(next, pair.isChecking ? at : Math.max(at, nextCheckAt));
    }
    return next;
  }

  /** Whether a direct pair may still turn out to be valid. */
  get hopesForDirect(): boolean {
    for (const { isRelayed, state } of this.#pairs.values()) {
      if (!isRelayed && (state === "waiting" || state === "checking")) return true;
    }
    return false;
  }

  #match(base: LocalBase, remote: UdpCandidate): void {
    if (base.reaches?.(remote.address.address) ?? true) this.#add(base, remote);
  }

  #add(base: LocalBase, remote: UdpCandidate): CandidatePair | undefined {
    const family = remote.address.address.length === 4 ? 4 : 6;
    const key = pairKey(base.id, remote.address);
    const known = this.#pairs.get(key);
    if (known || family !== base.family || this.#pairs.size >= MAX_PAIRS) return known;
    const pair = new CandidatePair(base, remote, this.#role);
    this.#pairs.set(key, pair);
    return pair;
  }

  #bestOf(isEligible: (pair: CandidatePair) => boolean): CandidatePair | undefined {
    let best: CandidatePair | undefined;
    for (const pair of this.#pairs.values()) {
      if (isEligible(pair) && (!best || pair.priority > best.priority)) best = pair;
    }
    return best;
  }
}
