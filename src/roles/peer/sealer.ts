import { equalBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../../protocol/crypto/primitives.ts";
import { type SignedPart, verifyBundle } from "../../protocol/crypto/x3dh.ts";
import type { PrekeyBundle } from "../../protocol/prekey_messages.ts";
import { encodeMessage } from "../../protocol/session/message_body.ts";
import {
  chooseSession,
  sealInSession,
  type Session,
  startSession,
} from "../../protocol/session/session.ts";
import { messageId } from "../../protocol/uuid.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";
import { damagedError } from "./refusals.ts";
import type { SessionStore } from "./session_store.ts";

/** What encrypting for one mailbox stands on. */
export interface SealerParts {
  readonly server: PeerId;
  readonly storeId: Uint8Array;
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly own: OwnIdentity;
  readonly host: Host;
  readonly isPaired: (server: string) => boolean;
  /** Asks the mailbox for the prekeys of a peer. */
  readonly fetchBundle: (peer: PeerId) => Promise<PrekeyBundle>;
}

/** The keys of a recipient cannot be had; the reason is the mailbox's, or ours. */
export class NoPrekeys extends Error {
  override readonly name = "NoPrekeys";
}

/** Encrypts what is in the outbox, each message once, durably before anything leaves. */
export class Sealer {
  constructor(private readonly parts: SealerParts) {}

  /**
   * Makes sure that an entry is encrypted and has its number at the mailbox; `undefined` when it
   * has meanwhile been encrypted for another one, or is damaged and was given up.
   *
   * @throws {NoPrekeys} when a new session is due and cannot be opened.
   */
  async prepare(entry: OutboxEntry): Promise<{ wire: Wire; body: Uint8Array } | undefined> {
    const { outbox } = this.parts;
    for (;;) {
      const wire = await this.#seal(entry);
      const body = wire && await outbox.readWire(wire);
      if (wire === undefined) return undefined;
      if (body !== undefined) return { wire, body };
      // Damaged on this disk: it is encrypted once more, with the next key.
      await outbox.unseal(entry);
    }
  }

  async #seal(entry: OutboxEntry): Promise<Wire | undefined> {
    const { outbox, sessions, server, storeId, host, isPaired } = this.parts;
    return await sessions.locked(entry.recipient, async () => {
      if (entry.wire && entry.wire.server === server.toString()) {
        const valid = equalBytes(entry.wire.storeId, storeId) && entry.wire.sequence > 0;
        return valid ? entry.wire : await outbox.number(entry, entry.wire, storeId);
      }
      if (entry.wire && isPaired(entry.wire.server)) return undefined;
      const data = await outbox.read(entry);
      if (data === undefined) {
        await outbox.drop(entry, damagedError());
        return undefined;
      }
      const session = chooseSession(sessions.list(entry.recipient)) ??
        await this.#startSession(entry.recipient);
      const plaintext = encodeMessage({ ...entry, data });
      const sealed = sealInSession(session, plaintext, host.now());
      const wire = {
        server: server.toString(),
        outerId: messageId(host.now(), host.random(10)),
        storeId,
        sessionId: session.id,
      };
      const step = sessions.step(entry.recipient, sealed.session);
      try {
        return await outbox.seal(entry, wire, sealed.body, step);
      } catch (error) {
        sessions.revert(entry.recipient, session.id);
        throw error;
      }
    });
  }

  async #startSession(recipient: PeerId): Promise<Session> {
    const { own, host, fetchBundle } = this.parts;
    const { signedPart, signature, reason, oneTimePrekey } = await fetchBundle(recipient);
    if (!signedPart || !signature) throw new NoPrekeys(reason ?? "it has published no keys");
    return startSession({
      self: own.session,
      remote: recipient,
      bundle: this.#verify(recipient, signedPart, signature),
      oneTimePrekey: oneTimePrekey ?? undefined,
      ephemeral: x25519KeyPair(host.random(32)),
      ratchetPair: x25519KeyPair(host.random(32)),
      now: host.now(),
    });
  }

  #verify(peerId: PeerId, signedPart: Uint8Array, signature: Uint8Array): SignedPart {
    try {
      return verifyBundle({ peerId, signedPart, signature, nowMs: this.parts.host.now() });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw new NoPrekeys(
        error.code === "expired"
          ? "its keys have expired; it must come online once"
          : "the keys that the server gave for it are not its own",
        { cause: error },
      );
    }
  }
}
