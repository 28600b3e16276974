import { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { PairReject } from "../../protocol/pairing_messages.ts";
import type { Invitation } from "../../protocol/pairing/invitation.ts";
import type { Credential } from "../../protocol/pairing/pairing.ts";
import { type Pin, pinCredential, pinCredentialId } from "../../protocol/pairing/pin.ts";

/**
 * Whom to pair with, and how to prove that one may: a credential that both know, being on the
 * other's list, or an operator who is asked and sees the same six digits. A link names the acceptor
 * itself; who made a PIN is not known before.
 */
export type PairingAim =
  | { readonly mechanism: "psk"; readonly acceptor: PeerId; readonly credential: Uint8Array }
  | { readonly mechanism: "pin"; readonly pin: Pin }
  | { readonly mechanism: "link"; readonly invitation: Invitation }
  | { readonly mechanism: "approved"; readonly acceptor: PeerId }
  | {
    readonly mechanism: "ask";
    readonly acceptor: PeerId;
    readonly onSas: (sas: string) => void;
  };

/** The credential that proves it. */
export function credentialOf(
  aim: Extract<PairingAim, { mechanism: "psk" | "pin" | "link" }>,
): Credential {
  switch (aim.mechanism) {
    case "psk":
      return { kind: "psk", secret: aim.credential };
    case "pin":
      return { kind: "pin", secret: pinCredential(aim.pin), id: pinCredentialId(aim.pin) };
    case "link": {
      const { credential, nonce } = aim.invitation;
      return { kind: "link", secret: credential, id: nonce };
    }
  }
}

/** The other side asks to come back later. */
export class PairingDelayed extends CairnError {
  constructor(
    /** Seconds. */
    readonly retryAfter: number,
  ) {
    super("pairing-failed", `Too many pairing attempts; try again in ${retryAfter} s`);
  }
}

/** What a refusal by the other side means to the person who pairs. */
export function explainReject(reject: PairReject, mechanism: PairingAim["mechanism"]): Error {
  const { reason, retryAfter } = reject;
  switch (reason) {
    case "RateLimited":
      return new PairingDelayed(retryAfter ?? 1);
    case "Timeout":
      return failed("The pairing took too long; try again");
    case "UserRejected":
      return failed(REJECTED[mechanism]);
    case "AuthenticationFailed": {
      const wait = retryAfter ? `; try again in ${retryAfter} s` : "";
      const [said, advice] = WRONG[mechanism];
      return failed(`${said}${wait}; ${advice}`);
    }
  }
}

/** The other side does not know the credential itself: it is another one, or somebody poses as it. */
export function explainImpostor(mechanism: PairingAim["mechanism"], cause: unknown): Error {
  const message = mechanism === "approved" || mechanism === "ask"
    ? "The other side broke the pairing protocol; nothing was changed"
    : IMPOSTOR[mechanism];
  return new CairnError("pairing-failed", message, { cause });
}

/** The link ended before the pairing was done. */
export class PairingInterrupted extends CairnError {
  constructor(
    /** As the other side gave it, or what became of the connection. */
    readonly reason: string,
  ) {
    super("pairing-failed", `The other side ended the pairing (${reason}); try again`);
  }
}

const REJECTED: Readonly<Record<PairingAim["mechanism"], string>> = {
  psk: "The operator of the other side has unpaired this peer; have it approved there first",
  pin: "The other side does not take pairings by PIN",
  link: "The other side does not take pairings by link",
  approved: "This peer is not on the other side's list of approved peers; have it approved " +
    "first, or ask for it",
  ask: "The operator of the other side has turned the request down",
};

const UNCHECKED = ["The other side could not check the request", "ask again"] as const;

/** What has happened, and what to do. */
const WRONG: Readonly<Record<PairingAim["mechanism"], readonly [said: string, advice: string]>> = {
  psk: ["The key was refused", "check that both sides were given the same key"],
  pin: [
    "The PIN was refused",
    "it may be mistyped, used, expired or spoiled by somebody's guesses: check it, or have " +
    "another one made",
  ],
  link: [
    "The link was refused",
    "it may be used, expired or withdrawn: have another one made",
  ],
  approved: UNCHECKED,
  ask: UNCHECKED,
};

const IMPOSTOR = {
  psk: "The other side does not know this key; check the key and the Peer ID",
  pin: "Whoever answered does not know this PIN: it may be mistyped, or somebody else answers in " +
    "its place; have another one made",
  link: "The other side does not know this link; have another one made",
} as const;

function failed(message: string): CairnError {
  return new CairnError("pairing-failed", message);
}
