import type { PasswordAlgorithm } from "../stun/integrity.ts";

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
