/**
 * Who may use the relay: users with a password, and whoever holds a time-limited username that one
 * of the operator's secrets vouches for (draft-uberti-behave-turn-rest). Of passwords only the keys
 * made from them are kept (RFC 8656 section 6).
 */

import { toBase64, toHex, utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { MAX_TEXT_LENGTH, MAX_USERNAME_LENGTH } from "../stun/attributes.ts";
import { hmacSha1, longTermKey, type PasswordAlgorithm, userHash } from "../stun/integrity.ts";
import { opaqueString } from "./opaque_string.ts";

/** One set of keys that a username may be used with. */
export interface Account {
  /** By whom quotas are counted and allocations owned: a username without its time. */
  readonly user: string;
  /** Unix seconds of the last second in which it may allocate; `undefined` for ever. */
  readonly expiry: number | undefined;
  /** The long-term key of RFC 8489 section 9.2.2. */
  key(algorithm: PasswordAlgorithm): Uint8Array;
}

/** A user and password as they were configured. */
export interface StaticUser {
  readonly username: string;
  readonly password: string;
}

export interface CredentialSettings {
  readonly realm: string;
  readonly users: readonly StaticUser[];
  /** Each of them vouches for time-limited usernames, so that one can replace another. */
  readonly restSecrets: readonly string[];
}

/** Usernames whose keys are kept between requests. */
const MAX_CACHED_USERNAMES = 1_000;

/** Immutable; a reload makes another one. */
export class Credentials {
  /** As it stands in REALM. */
  readonly realm: string;
  /** What an unknown user's message is verified with, so that it takes as long as a wrong password. */
  readonly decoy: Account;
  readonly #secrets: readonly Uint8Array[];
  readonly #byName = new Map<string, readonly Account[]>();
  readonly #byHash = new Map<string, readonly Account[]>();
  /** Accounts of time-limited usernames, in order of last use. */
  readonly #timeLimited = new Map<string, readonly Account[]>();

  /**
   * `decoyKey` is 32 random bytes.
   *
   * @throws {CairnError} `invalid-option` on a name, password or realm that cannot be used.
   */
  constructor({ realm, users, restSecrets }: CredentialSettings, decoyKey: Uint8Array) {
    this.realm = prepare(realm, "realm", MAX_TEXT_LENGTH);
    this.decoy = { user: "", expiry: undefined, key: () => decoyKey };
    this.#secrets = restSecrets.map(utf8);
    for (const user of users) this.#add(user);
  }

  /** Whether anybody can be let in. */
  get isEmpty(): boolean {
    return this.#byName.size === 0 && this.#secrets.length === 0;
  }

  /** The accounts that USERNAME may stand for, the most likely one first; none when it is unknown. */
  byUsername(username: string): readonly Account[] {
    return this.#byName.get(username) ?? this.#ofTimeLimited(username);
  }

  /** The accounts that USERHASH may stand for: only of users with a password, which are listed. */
  byUserHash(hash: Uint8Array): readonly Account[] {
    return this.#byHash.get(toHex(hash)) ?? [];
  }

  #add(user: StaticUser): void {
    const username = prepare(user.username, "username", MAX_USERNAME_LENGTH);
    if (this.#byName.has(username)) {
      throw new CairnError(
        "invalid-option",
        `The relay's user "${username}" is listed twice: keep one password`,
      );
    }
    const password = prepare(user.password, `password of the relay's user "${username}"`, Infinity);
    const keys = {
      "md5": longTermKey("md5", username, this.realm, password),
      "sha-256": longTermKey("sha-256", username, this.realm, password),
    };
    const account = [{
      user: username,
      expiry: undefined,
      key: (algorithm: PasswordAlgorithm) => keys[algorithm],
    }];
    this.#byName.set(username, account);
    this.#byHash.set(toHex(userHash(username, this.realm)), account);
  }

  #ofTimeLimited(username: string): readonly Account[] {
    const name = this.#secrets.length === 0 ? undefined : parseTimeLimited(username);
    if (name === undefined) return [];
    const accounts = this.#timeLimited.get(username) ?? this.#secrets.map((secret) => ({
      ...name,
      key: keyOnce(username, this.realm, secret),
    }));
    this.#timeLimited.delete(username);
    this.#timeLimited.set(username, accounts);
    for (const oldest of this.#timeLimited.keys()) {
      if (this.#timeLimited.size <= MAX_CACHED_USERNAMES) break;
      this.#timeLimited.delete(oldest);
    }
    return accounts;
  }
}

/** The password of a time-limited username. */
export function timeLimitedPassword(username: string, secret: Uint8Array): string {
  return toBase64(hmacSha1(secret, utf8(username)));
}

/**
 * Reads `expiry:user`, `user:expiry` or `expiry`. The first part that looks like a time is the
 * expiry: of `123:1800000000` the second, of `1800000000:1900000000` the first.
 */
export function parseTimeLimited(
  username: string,
): { readonly user: string; readonly expiry: number } | undefined {
  const colon = username.indexOf(":");
  const parts = colon < 0 ? [username] : [username.slice(0, colon), username.slice(colon + 1)];
  for (const [i, part] of parts.entries()) {
    // From 1973 to the year 5138; no user is likely to be called so.
    if (/^\d{9,11}$/.test(part)) return { user: parts[1 - i] ?? part, expiry: Number(part) };
  }
  return undefined;
}

function keyOnce(username: string, realm: string, secret: Uint8Array): Account["key"] {
  const keys = new Map<PasswordAlgorithm, Uint8Array>();
  return (algorithm) => {
    let key = keys.get(algorithm);
    if (key === undefined) {
      key = longTermKey(algorithm, username, realm, timeLimitedPassword(username, secret));
      keys.set(algorithm, key);
    }
    return key;
  };
}

function prepare(text: string, what: string, maxBytes: number): string {
  const prepared = opaqueString(text);
  if (prepared !== undefined && utf8(prepared).length <= maxBytes) return prepared;
  throw new CairnError(
    "invalid-option",
    `The ${what} is empty, too long, or holds characters that cannot be typed: choose another`,
  );
}
