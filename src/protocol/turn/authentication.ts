/** Long-term credentials as the server checks them (RFC 8489 section 9.2.4). */

import { equalBytes, utf8 } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import {
  AttributeType,
  decodePasswordAlgorithm,
  decodeText,
  encodePasswordAlgorithms,
  MAX_TEXT_LENGTH,
  MAX_USERNAME_LENGTH,
} from "../stun/attributes.ts";
import type { Integrity, IntegrityKind, PasswordAlgorithm } from "../stun/integrity.ts";
import type { Attribute, StunMessage } from "../stun/message.ts";
import { type Refusal, refuse } from "./answer.ts";
import type { Client } from "./client.ts";
import type { Counters } from "./counters.ts";
import { Nonces } from "./nonces.ts";
import type { TurnSettings } from "./settings.ts";
import type { SourceLimits } from "./source_limits.ts";

/** A sender who has proved an account, and what to sign the answer with. */
export interface Authenticated {
  readonly kind: "authenticated";
  readonly account: Account;
  readonly integrity: Integrity;
}

/** What a username stands for. */
export interface Account {
  /** Whose quota, bandwidth and allocations it uses: for REST credentials without the time. */
  readonly user: string;
  /** Unix seconds from which it opens no allocation any more; `Infinity` for a static user. */
  readonly expiresAt: number;
  /** The keys any of which proves the account: one for each secret that is in force. */
  keys(algorithm: PasswordAlgorithm): readonly Uint8Array[];
}

/** Who may use the relay. */
export interface Credentials {
  readonly realm: string;
  /** The account of a USERNAME as it came; this prepares it (OpaqueString) and may be hostile. */
  byUsername(username: string): Account | undefined;
  /** The account of a 32-byte USERHASH; only static users can be found by it. */
  byUserHash(hash: Uint8Array): Account | undefined;
}

/** What this server offers, best first. */
const PASSWORD_ALGORITHMS: readonly PasswordAlgorithm[] = ["sha-256", "md5"];
const PASSWORD_ALGORITHMS_VALUE = encodePasswordAlgorithms(PASSWORD_ALGORITHMS);
const USERHASH_LENGTH = 32;

/** The parts of a request by which it authenticates, as far as they are there and readable. */
interface Claim {
  readonly kind: IntegrityKind;
  readonly account: Account | undefined;
  readonly nonce: string;
  readonly algorithm: PasswordAlgorithm;
}

export class Authenticator {
  readonly #credentials: Credentials;
  readonly #realm: Uint8Array;
  readonly #settings: TurnSettings;
  readonly #limits: SourceLimits;
  readonly #nonces: Nonces;
  readonly #host: Pick<Host, "now" | "random">;
  readonly #decoyKeys: readonly Uint8Array[];
  readonly #counters: Counters;

  constructor(options: {
    credentials: Credentials;
    settings: TurnSettings;
    limits: SourceLimits;
    nonces: Nonces;
    host: Pick<Host, "now" | "random">;
    counters: Counters;
  }) {
    this.#credentials = options.credentials;
    this.#realm = utf8(options.credentials.realm);
    this.#settings = options.settings;
    this.#limits = options.limits;
    this.#nonces = options.nonces;
    this.#host = options.host;
    this.#decoyKeys = [options.host.random(32)];
    this.#counters = options.counters;
  }

  /** `undefined` leaves the request unanswered. Refusals here are not signed. */
  check(request: StunMessage, client: Client, now: number): Authenticated | Refusal | undefined {
    // A source that only ever asks must not make this server compute either.
    if (client.allocation === undefined && !this.#limits.mayAsk(client, now)) return undefined;
    const claim = this.#claim(request, client, now);
    if (claim.kind === "refused") {
      if (!this.#limits.ask(client, now)) return undefined;
      if (claim.code === 401) this.#counters.challenges++;
      return claim;
    }
    const user = claim.account?.user;
    if (client.allocation === undefined && !this.#limits.mayTry(client, user, now)) {
      return undefined;
    }

    const proven = this.#verify(request, claim);
    const nonceIsValid = this.#nonces.isValid(claim.nonce, client, now);
    if (proven === undefined) {
      this.#counters.wrongCredentials++;
      // Without a valid nonce the source may be forged and the user a stranger's victim.
      this.#limits.failed(client, nonceIsValid ? user : undefined, now);
      return this.#limits.ask(client, now) ? this.#challenge(client, now) : undefined;
    }
    if (this.#hasExpired(proven.account, client)) return this.#challenge(client, now);
    if (!nonceIsValid) {
      this.#counters.staleNonces++;
      return refuse(438, "", ...this.#challengeAttributes(client, now));
    }
    return proven;
  }

  #claim(request: StunMessage, client: Client, now: number): Claim | Refusal {
    const kind = request.integrityKind;
    if (kind === undefined) return this.#challenge(client, now);
    const username = request.get(AttributeType.Username);
    const hash = request.get(AttributeType.UserHash);
    const realm = request.get(AttributeType.Realm);
    const nonce = request.get(AttributeType.Nonce);
    if ((username ?? hash) === undefined || realm === undefined || nonce === undefined) {
      return refuse(400, "");
    }
    const isTooLong = (username?.length ?? 0) > MAX_USERNAME_LENGTH ||
      realm.length > MAX_TEXT_LENGTH || nonce.length > MAX_TEXT_LENGTH;
    const algorithm = chosenAlgorithm(request);
    if (isTooLong || algorithm === undefined) return refuse(400, "");
    const isOurRealm = equalBytes(realm, this.#realm);
    return {
      kind,
      account: isOurRealm ? this.#account(username, hash) : undefined,
      nonce: decodeText(nonce) ?? "",
      algorithm,
    };
  }

  #account(username: Uint8Array | undefined, hash: Uint8Array | undefined): Account | undefined {
    if (username !== undefined) {
      const text = decodeText(username);
      return text === undefined ? undefined : this.#credentials.byUsername(text);
    }
    return hash?.length === USERHASH_LENGTH ? this.#credentials.byUserHash(hash) : undefined;
  }

  /** An unknown user costs as much time as a known one's wrong password. */
  #verify(request: StunMessage, { kind, account, algorithm }: Claim): Authenticated | undefined {
    for (const key of account?.keys(algorithm) ?? this.#decoyKeys) {
      const isRight = request.verify({ kind, key });
      if (isRight && account) return { kind: "authenticated", account, integrity: { kind, key } };
    }
    return undefined;
  }

  /** Whoever has begun a call may end it in peace, unless the operator is strict. */
  #hasExpired({ expiresAt }: Account, { allocation }: Client): boolean {
    if (allocation && !this.#settings.strictExpiry) return false;
    return this.#host.now() / 1000 >= expiresAt;
  }

  #challenge(client: Client, now: number): Refusal {
    return refuse(401, "", ...this.#challengeAttributes(client, now));
  }

  #challengeAttributes(client: Client, now: number): Attribute[] {
    return [
      [AttributeType.Realm, this.#realm],
      [AttributeType.Nonce, utf8(this.#nonces.make(client, now))],
      [AttributeType.PasswordAlgorithms, PASSWORD_ALGORITHMS_VALUE],
    ];
  }
}

/**
 * The algorithm that made the key: MD5 for clients that know of no choice. Others repeat what they
 * were offered, so that nobody between can have taken the better one away.
 */
function chosenAlgorithm(request: StunMessage): PasswordAlgorithm | undefined {
  const chosen = request.get(AttributeType.PasswordAlgorithm);
  const offered = request.get(AttributeType.PasswordAlgorithms);
  if (chosen === undefined && offered === undefined) return "md5";
  if (chosen === undefined || offered === undefined) return undefined;
  if (!equalBytes(offered, PASSWORD_ALGORITHMS_VALUE)) return undefined;
  return decodePasswordAlgorithm(chosen);
}
