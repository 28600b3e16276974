import { type AddressPort, formatAddressPort, type IpAddress } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { candidatePriority, type CandidateType, pairPriority } from "./candidates.ts";
import type { CheckRole } from "./connectivity_check.ts";

/** Milliseconds before a check is sent a second time; each later one waits twice as long. */
const RTO = 250;
const MAX_TRANSMISSIONS = 5;
/** Transmissions without an answer after which a pair is not trusted any more. */
const SUSPECT_TRANSMISSIONS = 3;

/** A way out of this machine: a socket, or an allocation at a relay. */
export interface LocalBase {
  readonly id: string;
  readonly type: "host" | "relay";
  readonly family: AddressFamily;
  /** Whether it may lead to an address that the remote says it has; default to every one. */
  readonly reaches?: (address: IpAddress) => boolean;
}

/** A way out, and an address of the peer to try with it. */
export class CandidatePair {
  readonly base: LocalBase;
  readonly remote: AddressPort;
  readonly priority: bigint;
  readonly isRelayed: boolean;
  /** `valid` once an answer came, until one fails to come. */
  state: "waiting" | "checking" | "valid" | "failed" = "waiting";
  /** When the next check begins; `Infinity` while none is to. */
  checkAt = 0;
  /** Failures since it last answered. */
  failures = 0;
  /** The remote has proved that it sends from there. */
  isProven = false;
  /** The check that waits for an answer. */
  #transaction: { readonly id: string; readonly bytes: Uint8Array } | undefined;
  #transmissions = 0;
  #resendAt = Infinity;

  constructor(
    base: LocalBase,
    remote: { readonly type: CandidateType; readonly address: AddressPort },
    role: CheckRole,
  ) {
    this.base = base;
    this.remote = remote.address;
    this.isRelayed = base.type === "relay" || remote.type === "relay";
    const local = candidatePriority(base.type, remote.address);
    const other = candidatePriority(remote.type, remote.address);
    this.priority = role === "controlling"
      ? pairPriority(local, other)
      : pairPriority(other, local);
  }

  get key(): string {
    return pairKey(this.base.id, this.remote);
  }

  get isChecking(): boolean {
    return this.#transaction !== undefined;
  }

  /** Answered lately, and not waiting for longer than an answer takes. */
  get isTrusted(): boolean {
    return this.state === "valid" && this.#transmissions < SUSPECT_TRANSMISSIONS;
  }

  nextDeadline(): number {
    return this.#transaction ? this.#resendAt : this.checkAt;
  }

  awaits(transactionId: string): boolean {
    return this.#transaction?.id === transactionId;
  }

  begin(transaction: { readonly id: string; readonly bytes: Uint8Array }, now: number): void {
    this.#transaction = transaction;
    this.#transmissions = 1;
    this.#resendAt = now + RTO;
    this.checkAt = Infinity;
    if (this.state !== "valid") this.state = "checking";
  }

  /** What to send again now; `failed` when nothing came of it often enough. */
  resend(now: number): Uint8Array | "failed" | undefined {
    if (!this.#transaction || this.#resendAt > now) return undefined;
    if (this.#transmissions >= MAX_TRANSMISSIONS) {
      this.#settle();
      this.state = "failed";
      this.failures += 1;
      return "failed";
    }
    this.#transmissions += 1;
    this.#resendAt = now + RTO * 2 ** (this.#transmissions - 1);
    return this.#transaction.bytes;
  }

  succeed(nextCheckAt: number): void {
    this.#settle();
    this.state = "valid";
    this.isProven = true;
    this.failures = 0;
    this.checkAt = nextCheckAt;
  }

  /** Lets a check begin at once; one that is under way is given up for it. */
  hurry(now: number): void {
    this.#settle();
    this.checkAt = now;
  }

  #settle(): void {
    this.#transaction = undefined;
    this.#transmissions = 0;
    this.#resendAt = Infinity;
  }
}

export function pairKey(baseId: string, remote: AddressPort): string {
  return `${baseId} ${formatAddressPort(remote)}`;
}
