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
import { encodeNote } from "../../protocol/session/shared_body.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { Outbox } from "./outbox.ts";
import { isSharedData } from "./outbox_bodies.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";
import { damagedError } from "./refusals.ts";
import type { SessionStore } from "./session_store.ts";

/** Stands in the place of a server in what was encrypted for a link to the recipient itself. */
const NO_SERVER = "direct";

/** What encrypting for one mailbox stands on. */
export interface SealerParts {
  readonly server: PeerId;
  readonly storeId: Uint8Array;
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly own: OwnIdentity;
  readonly host: Host;
  /** Whether what several recipients get can be sent once for all of them. */
  readonly shares: boolean;
  /** Whether what was encrypted for another server is left with that one. */
  readonly isKept: (wire: Wire) => boolean;
  /** Asks the mailbox for the prekeys of a peer. */
  readonly fetchBundle: (peer: PeerId) => Promise<PrekeyBundle>;
}

/** A message as it leaves. */
export interface Prepared {
  readonly wire: Wire;
  readonly body: Uint8Array;
  /** What the message shares with others, when the body says how to open it. */
  readonly sharedBody?: Uint8Array;
}

/** The keys of a recipient cannot be had; the reason is the mailbox's, or ours. */
export class NoPrekeys extends Error {
  override readonly name = "NoPrekeys";
}

/** Encrypts what is in the outbox, each message once, durably before anything leaves. */
export class Sealer {
  /** Of what is sent on a link to the recipient itself. */
  #linkSession: Uint8Array | undefined;

  constructor(private readonly parts: SealerParts) {}

  /**
   * Makes sure that an entry is encrypted and has its number at the mailbox; `undefined` when it
   * has meanwhile been encrypted for another one, or is damaged and was given up.
   *
   * @throws {NoPrekeys} when a new session is due and cannot be opened.
   */
  async prepare(entry: OutboxEntry): Promise<Prepared | undefined> {
    return await this.#withBody(entry, () => this.#numbered(entry));
  }

  /**
   * The same for a link to the recipient itself, where any ciphertext will do and none has a
   * number; `undefined` when the message has ended meanwhile, or is damaged and was given up.
   *
   * What is sent there no mailbox counts, and none could tell a folder that was rolled back behind
   * it. So it has a session of its own, which is on disk as a retired one: no other link, and no
   * later process, encrypts in it.
   *
   * @throws {NoPrekeys} when a new session is due and cannot be opened.
   */
  async prepareDirect(entry: OutboxEntry): Promise<Prepared | undefined> {
    return await this.#withBody(entry, () => this.#ofAnyKind(entry));
  }

  /** The recipient cannot open what was encrypted for its link. */
  endLinkSession(): void {
    this.#linkSession = undefined;
  }

  async #withBody(
    entry: OutboxEntry,
    encrypted: () => Promise<Wire | undefined>,
  ): Promise<Prepared | undefined> {
    const { outbox, sessions } = this.parts;
    for (;;) {
      const wire = await encrypted();
      const body = wire && await outbox.wires.read(wire);
      if (wire === undefined) return undefined;
      const sharedBody = wire.isNote && body && await outbox.readShared(entry);
      if (body !== undefined && (sharedBody || !wire.isNote)) {
        return { wire, body, ...(sharedBody && { sharedBody }) };
      }
      // Damaged on this disk: it is encrypted once more, with the next key.
      await sessions.locked(entry.recipient, async () => {
        if (entry.wire?.outerId === wire.outerId) await outbox.wires.unseal(entry);
      });
    }
  }

  async #numbered(entry: OutboxEntry): Promise<Wire | undefined> {
    const { outbox, sessions, server, storeId, isKept, shares } = this.parts;
    const { recipient } = entry;
    return await sessions.locked(recipient, async () => {
      // A link to the recipient itself may have brought it there while this waited.
      if (!outbox.has(entry)) return undefined;
      if (entry.wire?.server === server.toString() && (shares || !entry.wire.isNote)) {
        const valid = equalBytes(entry.wire.storeId, storeId) && entry.wire.sequence > 0;
        return valid ? entry.wire : await outbox.wires.number(entry, entry.wire, storeId);
      }
      const isOthers = entry.wire && entry.wire.server !== server.toString();
      if (entry.wire && isOthers && isKept(entry.wire)) return undefined;
      // What its recipient could not open is not left to depend on what others get.
      const isNote = shares && entry.failures === 0 && outbox.sharing(entry).length > 1;
      const plaintext = await this.#plaintext(entry, isNote);
      if (plaintext === undefined) return undefined;
      const session = chooseSession(sessions.list(recipient)) ??
        await this.#startSession(recipient);
      return await this.#seal(entry, plaintext, session, { server: server.toString(), isNote });
    });
  }

  async #ofAnyKind(entry: OutboxEntry): Promise<Wire | undefined> {
    const { outbox, sessions } = this.parts;
    const { recipient } = entry;
    return await sessions.locked(recipient, async () => {
      if (!outbox.has(entry)) return undefined;
      if (entry.wire) return entry.wire;
      const plaintext = await this.#plaintext(entry, false);
      if (plaintext === undefined) return undefined;
      const known = this.#linkSession && sessions.get(recipient, this.#linkSession);
      const session = chooseSession(known ? [{ ...known, retired: false }] : []) ??
        await this.#startSession(recipient);
      this.#linkSession = session.id;
      return await this.#seal(entry, plaintext, session, { server: NO_SERVER, isNote: false });
    });
  }

  /** What is to be encrypted; a message that is damaged on this disk is given up. */
  async #plaintext(entry: OutboxEntry, isNote: boolean): Promise<Uint8Array | undefined> {
    const { outbox } = this.parts;
    const data = await outbox.read(entry);
    if (data !== undefined && isNote && isSharedData(entry.data)) {
      return encodeNote({ ...entry, ...entry.data });
    }
    if (data !== undefined) return encodeMessage({ ...entry, data });
    await outbox.drop(entry, damagedError());
    return undefined;
  }

  async #seal(
    entry: OutboxEntry,
    plaintext: Uint8Array,
    session: Session,
    { server, isNote }: { readonly server: string; readonly isNote: boolean },
  ): Promise<Wire> {
    const { outbox, sessions, storeId, host } = this.parts;
    const sealed = sealInSession(session, plaintext, host.now());
    const wire = {
      server,
      outerId: messageId(host.now(), host.random(10)),
      storeId,
      sessionId: session.id,
      ...(isNote && { isNote }),
    };
    const step = sessions.step(entry.recipient, {
      ...sealed.session,
      retired: server === NO_SERVER,
    });
    try {
      return await outbox.wires.seal(entry, wire, sealed.body, step);
    } catch (error) {
      sessions.revert(entry.recipient, session.id);
      throw error;
    }
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
