import { toHex } from "../../base/bytes.ts";
import { RateLimit } from "../../base/rate_limit.ts";
import type { Client } from "./client.ts";
import type { Counters } from "./counters.ts";
import type { Buckets, Siblings } from "./siblings.ts";
import type { TurnSettings } from "./settings.ts";

/** The first 56 bits of an IPv6 address are what a site is given at the least. */
const SOURCE_PREFIX_LENGTH = 7;

/** How often a source may have an answer without authentication, and be wrong. */
export class SourceLimits {
  readonly #asked: Buckets;
  readonly #bindings: Buckets;
  readonly #failed: Buckets;
  readonly #failedUsers: Buckets;
  readonly #failureBurst: number;
  readonly #counters: Counters;

  constructor(settings: TurnSettings, counters: Counters, siblings?: Siblings) {
    const { challengeRate, bindingRate, failureRate, maxTrackedSources } = settings;
    this.#asked = siblings?.asked ?? new RateLimit(challengeRate, maxTrackedSources);
    this.#bindings = siblings?.bindings ?? new RateLimit(bindingRate, maxTrackedSources);
    this.#failed = siblings?.failed ?? new RateLimit(failureRate, maxTrackedSources);
    this.#failedUsers = siblings?.failedUsers ?? new RateLimit(failureRate, maxTrackedSources);
    this.#failureBurst = failureRate.burst;
    this.#counters = counters;
  }

  /** Whether the source's requests are looked at. A connection's source cannot be forged. */
  mayAsk(client: Client, now: number): boolean {
    return this.#count(client.transport !== "udp" || this.#asked.has(sourceOf(client), now));
  }

  /** Takes an answer without authentication from what the source may have. */
  ask(client: Client, now: number): boolean {
    return this.#count(client.transport !== "udp" || this.#asked.take(sourceOf(client), now));
  }

  /** Takes an answer to a Binding request. */
  bind(client: Client, now: number): boolean {
    return this.#count(client.transport !== "udp" || this.#bindings.take(sourceOf(client), now));
  }

  /**
   * Whether the source may try a password. That a user is guessed at locks out only sources that
   * have been wrong themselves.
   */
  mayTry(client: Client, user: string | undefined, now: number): boolean {
    const source = sourceOf(client);
    const isClean = this.#failed.has(source, now, this.#failureBurst);
    const userMayBeTried = isClean || user === undefined || this.#failedUsers.has(user, now);
    return this.#count(this.#failed.has(source, now) && userMayBeTried);
  }

  failed(client: Client, user: string | undefined, now: number): void {
    this.#failed.take(sourceOf(client), now);
    if (user !== undefined) this.#failedUsers.take(user, now);
  }

  #count(allowed: boolean): boolean {
    if (!allowed) this.#counters.droppedRateLimited++;
    return allowed;
  }
}

function sourceOf({ endpoint: { address, hostname } }: Client): string {
  return address.length === 4 ? hostname : toHex(address.subarray(0, SOURCE_PREFIX_LENGTH));
}
