import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardDeliver } from "../../protocol/forward_messages.ts";
import { x25519KeyPair } from "../../protocol/crypto/primitives.ts";
import {
  type Body,
  decodeBody,
  decodeMessage,
  type Message,
} from "../../protocol/session/message_body.ts";
import { decodeWithShared } from "../../protocol/session/shared_body.ts";
import { acceptSession, openInSession, type Session } from "../../protocol/session/session.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { Prekeys } from "./prekeys.ts";
import type { SessionStore } from "./session_store.ts";

/** A body that was opened; nothing of it is durable yet. */
export interface Opened {
  /** The session after the step. */
  readonly session: Session;
  readonly message: Message;
  /** The body opened this session. */
  readonly isNew: boolean;
  /** The one-time prekey that was used up by it. */
  readonly oneTimeId: number | undefined;
}

/** What a mailbox brings of a message. */
export type Delivered = Pick<ForwardDeliver, "sender" | "encryptedPayload" | "sharedBody">;

/** What opening bodies stands on. */
export interface BodyOpenerParts {
  readonly own: OwnIdentity;
  readonly sessions: SessionStore;
  readonly prekeys: Prekeys;
  readonly host: Host;
  /** Whether a session with this id was opened before, and has been dropped since. */
  readonly wasOpened: (sender: PeerId, sessionId: Uint8Array) => Promise<boolean>;
}

/** Decrypts bodies in the session they belong to, on copies: nothing changes when it fails. */
export class BodyOpener {
  constructor(private readonly parts: BodyOpenerParts) {}

  /** @throws {ProtocolError} when the body is not a good one from `sender`. */
  async open({ sender, encryptedPayload, sharedBody }: Delivered): Promise<Opened> {
    const { sessions, host } = this.parts;
    const body = decodeBody(encryptedPayload);
    const known = sessions.get(sender, body.sessionId);
    const session = known ?? await this.#accept(sender, body);
    const freshPair = x25519KeyPair(host.random(32));
    const { session: stepped, plaintext } = openInSession(session, body, freshPair, host.now());
    return {
      session: stepped,
      message: sharedBody ? decodeWithShared(plaintext, sharedBody) : decodeMessage(plaintext),
      isNew: !known,
      oneTimeId: known ? undefined : body.x3dh?.oneTimePrekeyId,
    };
  }

  async #accept(sender: PeerId, body: Body): Promise<Session> {
    const { own, prekeys, host, wasOpened } = this.parts;
    if (!body.x3dh) throw new ProtocolError("decryption-failed", "Body of an unknown session");
    if (await wasOpened(sender, body.sessionId)) {
      throw new ProtocolError("decryption-failed", "Body replays the opening of an old session");
    }
    const { signedPrekeyId, oneTimePrekeyId } = body.x3dh;
    const signedPair = prekeys.signed(signedPrekeyId);
    if (!signedPair) throw new ProtocolError("decryption-failed", "Signed prekey is not known");
    const oneTimePair = oneTimePrekeyId === undefined
      ? undefined
      : prekeys.oneTime(oneTimePrekeyId);
    if (oneTimePrekeyId !== undefined && !oneTimePair) {
      throw new ProtocolError("decryption-failed", "One-time prekey is not known");
    }
    return acceptSession({
      self: own.session,
      remote: sender,
      sessionId: body.sessionId,
      x3dh: body.x3dh,
      signedPrekey: { id: signedPrekeyId, pair: signedPair },
      oneTimePrekey: oneTimePair && oneTimePrekeyId !== undefined
        ? { id: oneTimePrekeyId, pair: oneTimePair }
        : undefined,
      now: host.now(),
    });
  }
}
