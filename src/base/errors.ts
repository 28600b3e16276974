/**
 * Whose fault it is decides the class: the caller's mistake is a `TypeError` or `RangeError`, a
 * remote peer's mistake is a {@linkcode ProtocolError}, and what a user can act on is a
 * {@linkcode CairnError} with one sentence that says what to do.
 */

/** What a remote peer did wrong. The connection it came on closes; nothing else is affected. */
export type ProtocolErrorCode =
  | "malformed"
  | "too-large"
  | "unexpected-message"
  | "handshake-failed"
  | "wrong-peer"
  | "expired"
  | "unsupported-version"
  | "decryption-failed"
  | "weak-key"
  | "rate-limited"
  | "timeout";

/** A remote peer broke the protocol. Its message is for the local log, never for the peer. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What a user of the program or the library can act on. */
export type CairnErrorCode =
  | "not-paired"
  | "unreachable"
  | "refused"
  | "pairing-failed"
  | "too-large"
  | "timeout"
  | "closed"
  | "invalid-option"
  | "address-in-use"
  | "certificate-unreadable"
  | "data-folder-in-use"
  | "data-folder-corrupt"
  | "data-folder-unusable"
  | "backup-unusable"
  | "disk-full";

/** A failure whose message is one clear sentence for the person who runs the program. */
export class CairnError extends Error {
  /** Always `CairnError`, also of its kinds. */
  override readonly name = "CairnError";
  /** What to branch on; the message is for people. */
  readonly code: CairnErrorCode;

  /** `message` is one sentence that says what to do. */
  constructor(code: CairnErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** No peer could be reached, or none was found. */
export class PeerUnreachable extends CairnError {
  /** `message` is one sentence that says what to do. */
  constructor(message: string, options?: ErrorOptions) {
    super("unreachable", message, options);
  }
}

/** The other side is not who it should be, or does not take this peer for one that may ask. */
export class AuthenticationFailed extends CairnError {
  /** `message` is one sentence that says what to do. */
  constructor(code: "refused" | "not-paired", message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** One way to a peer that did not work, and why. */
export interface WayTried {
  /** A URL, or `datagrams`. */
  readonly way: string;
  /** In words. */
  readonly reason: string;
}

/** No way to a peer worked. The message is that of the last failure; `tried` has them all. */
export class TransportExhausted extends CairnError {
  /** At most 32, the latest. */
  readonly tried: readonly WayTried[];

  /** `last` is the failure that is told; `tried` has every one. */
  constructor(last: Error, tried: readonly WayTried[]) {
    const code = last instanceof CairnError ? last.code : "unreachable";
    super(code, last.message, { cause: last });
    this.tried = tried.slice(-32);
  }
}
