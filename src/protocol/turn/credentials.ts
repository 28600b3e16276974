/**
 * Who may use the relay: users with a password, and whoever holds a time-limited username that one
 * of the operator's secrets vouches for (draft-uberti-behave-turn-rest). Of passwords only the keys
 * made from them are kept (RFC 8656 section 6).
 */

import { toBase64, toHex, utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { hmacSha1 } from "../crypto/hmac.ts";
import { MAX_TEXT_LENGTH, MAX_USERNAME_LENGTH } from "../stun/attributes.ts";
import { longTermKey, type PasswordAlgorithm, userHash } from "../stun/integrity.ts";
import type { Account, Credentials } from "./authentication.ts";
import { opaqueString } from "./opaque_string.ts";

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
export class RelayUsers implements Credentials {
  /** As it stands in REALM. */
  readonly realm: string;
  readonly #secrets: readonly Uint8Array[];
  readonly #byName = new Map<string, Account>();
  readonly #byHash = new Map<string, Account>();
  /** Accounts of time-limited usernames, in order of last use. */
  readonly #timeLimited = new Map<string, Account>();

  /** @throws {CairnError} `invalid-option` on a name, password or realm that cannot be used. */
  constructor({ realm, users, restSecrets }: CredentialSettings) {
    this.realm = prepare(realm, "relay's realm", MAX_TEXT_LENGTH);
    this.#secrets = restSecrets.map(utf8);
    for (const user of users) this.#add(user);
  }

  /** Whether nobody can be let in. */
  get isEmpty(): boolean {
    return this.#byName.size === 0 && this.#secrets.length === 0;
  }

  byUsername(username: string): Account | undefined {
    return this.#byName.get(username) ?? this.#byName.get(opaqueString(username) ?? "") ??
      this.#ofTimeLimited(username);
  }

  /** Only users with a password are listed, so that their hash can be known. */
  byUserHash(hash: Uint8Array): Account | undefined {
    return this.#byHash.get(toHex(hash));
  }

  #add(user: StaticUser): void {
    const username = prepare(user.username, "name of a relay user", MAX_USERNAME_LENGTH);
    if (this.#byName.has(username)) {
      throw new CairnError(
        "invalid-option",
        `The relay's user "${username}" is listed twice: keep one password`,
      );
    }
    const password = prepare(user.password, `password of the relay's user "${username}"`, Infinity);
    const keys = {
      "md5": [longTermKey("md5", username, this.realm, password)],
      "sha-256": [longTermKey("sha-256", username, this.realm, password)],
    };
    const account: Account = {
      user: username,
      expiresAt: Infinity,
      keys: (algorithm) => keys[algorithm],
    };
    this.#byName.set(username, account);
    this.#byHash.set(toHex(userHash(username, this.realm)), account);
  }

  #ofTimeLimited(username: string): Account | undefined {
    const account = this.#timeLimited.get(username) ?? this.#vouchFor(username);
    if (account === undefined) return undefined;
    this.#timeLimited.delete(username);
    this.#timeLimited.set(username, account);
    for (const oldest of this.#timeLimited.keys()) {
      if (this.#timeLimited.size <= MAX_CACHED_USERNAMES) break;
      this.#timeLimited.delete(oldest);
    }
    return account;
  }

  #vouchFor(username: string): Account | undefined {
    const name = this.#secrets.length === 0 ? undefined : parseTimeLimited(username);
    if (name === undefined) return undefined;
    const made = new Map<PasswordAlgorithm, readonly Uint8Array[]>();
    return {
      user: name.user,
      // Valid to the end of the second that it names.
      expiresAt: name.expiry + 1,
      keys: (algorithm) => {
        const keys = made.get(algorithm) ??
          this.#secrets.map((secret) =>
            longTermKey(algorithm, username, this.realm, timeLimitedPassword(username, secret))
          );
        made.set(algorithm, keys);
        return keys;
      },
    };
  }
}

/** Reads `user:pass`, split at the first colon. */
export function parseStaticUser(text: string): StaticUser | undefined {
  const [, username, password] = /^([^:]+):(.+)$/su.exec(text) ?? [];
  if (username === undefined || password === undefined) return undefined;
  return { username, password };
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

function prepare(text: string, what: string, maxBytes: number): string {
  const prepared = opaqueString(text);
  if (prepared !== undefined && utf8(prepared).length <= maxBytes) return prepared;
  throw new CairnError(
    "invalid-option",
    `The ${what} is empty, too long, or holds characters that cannot be typed: choose another`,
  );
}
