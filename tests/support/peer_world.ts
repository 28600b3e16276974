import { utf8 } from "../../src/base/bytes.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { verifyBundle } from "../../src/protocol/crypto/x3dh.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import type { ForwardDeliver } from "../../src/protocol/forward_messages.ts";
import type { PrekeyBundle, PrekeyPublish } from "../../src/protocol/prekey_messages.ts";
import { decodeBody, encodeMessage } from "../../src/protocol/session/message_body.ts";
import {
  openInSession,
  sealInSession,
  type Session,
  startSession,
} from "../../src/protocol/session/session.ts";
import { messageId } from "../../src/protocol/uuid.ts";
import { type CommitOptions, GroupCommit, type KvOperation } from "../../src/roles/group_commit.ts";
import type { OwnIdentity } from "../../src/roles/identity_store.ts";
import { KvBlobs } from "../../src/roles/kv_blobs.ts";
import { Inbox } from "../../src/roles/peer/inbox.ts";
import { Outbox } from "../../src/roles/peer/outbox.ts";
import { Prekeys } from "../../src/roles/peer/prekeys.ts";
import { SessionStore } from "../../src/roles/peer/session_store.ts";
import type { TestHost } from "../roles/server/mailbox_scene.ts";
import { identityFor, sessionIdentityFor } from "./identities.ts";
import { Journal } from "./journal.ts";

/** What a commit fails with once the process is dead. */
export class Crash extends Error {}

/** A store whose process dies after so many more commits. */
export class MortalCommit extends GroupCommit {
  /** How many commits were asked for. */
  count = 0;
  #left = Infinity;
  readonly #death = Promise.withResolvers<"died">();

  /** Resolves with the first commit that is not made any more. */
  get death(): Promise<"died"> {
    return this.#death.promise;
  }

  dieAfter(commits: number): void {
    this.#left = commits;
  }

  override commit(
    operations: readonly KvOperation[],
    options: CommitOptions = {},
  ): Promise<void> {
    this.count++;
    if (this.#left-- <= 0) {
      this.#death.resolve("died");
      return Promise.reject(new Crash("The process is dead"));
    }
    return super.commit(operations, options);
  }
}

export function ownIdentityFor(label: string): OwnIdentity {
  return { identity: identityFor(label), session: sessionIdentityFor(label) };
}

/** What a peer keeps on disk, over a store in memory that outlives its process. */
export class PeerWorld implements AsyncDisposable {
  private constructor(
    readonly label: string,
    readonly host: TestHost,
    readonly kv: Deno.Kv,
    readonly commit: MortalCommit,
    readonly own: OwnIdentity,
    readonly sessions: SessionStore,
    readonly prekeys: Prekeys,
    readonly inbox: Inbox,
    readonly outbox: Outbox,
    /** What the outbox told, in words. */
    readonly events: Journal,
  ) {}

  static async open(label: string, host: TestHost, kv?: Deno.Kv): Promise<PeerWorld> {
    const store = kv ?? await Deno.openKv(":memory:");
    const own = ownIdentityFor(label);
    const commit = new MortalCommit(store);
    const blobs = new KvBlobs(store, commit, ["blob"], host);
    await blobs.sweepStaged();
    const sessions = await SessionStore.open(store, commit);
    const prekeys = await Prekeys.open(store, commit, own, host);
    const parts = { kv: store, commit, blobs, sessions, prekeys, own, host };
    const inbox = await Inbox.open(parts);
    const events = new Journal();
    const outbox = await Outbox.open(store, commit, blobs, host, {
      accepted: ({ sequence }) => events.add(`accepted ${sequence}`),
      delivered: ({ sequence }) => events.add(`delivered ${sequence}`),
      refused: ({ sequence }, { code }, dropped) =>
        events.add(`${dropped ? "dropped" : "refused"} ${sequence}: ${code}`),
    });
    return new PeerWorld(
      label,
      host,
      store,
      commit,
      own,
      sessions,
      prekeys,
      inbox,
      outbox,
      events,
    );
  }

  get peerId(): PeerId {
    return this.own.identity.peerId;
  }

  /** The process died, or ended; the next one opens what is on disk. */
  async reopen(): Promise<PeerWorld> {
    await this.commit.close();
    return await PeerWorld.open(this.label, this.host, this.kv);
  }

  /** What a mailbox would be given, whatever it has. */
  async publish(): Promise<PrekeyPublish> {
    const publication = await this.prekeys.publication({
      storeId: new Uint8Array(16),
      oneTimePrekeysLeft: 0,
      signedPrekeyId: null,
      largestBody: 1_000_000,
      retentionSeconds: 7 * 86_400,
    });
    if (!publication) throw new Error("Nothing was published");
    return publication;
  }

  /** A copy of the folder as it is now, as a backup makes it. */
  async copy(): Promise<Deno.Kv> {
    const copy = await Deno.openKv(":memory:");
    for (const [key, value] of await this.records()) await copy.set(key, value);
    return copy;
  }

  /** Everything in the store under a prefix. */
  async records<T = unknown>(...prefix: Deno.KvKeyPart[]): Promise<[Deno.KvKey, T][]> {
    const entries = await Array.fromAsync(this.kv.list<T>({ prefix }));
    return entries.map(({ key, value }) => [key, value]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.commit.close();
    this.kv.close();
  }
}

/** The other end of sessions: writes to one peer and reads its answers, all in memory. */
export class Writer {
  readonly own: OwnIdentity;
  session: Session | undefined;
  #sequence = 0;
  #bundles: PrekeyBundle[];

  constructor(
    label: string,
    private readonly to: PeerId,
    private readonly host: TestHost,
    publication: PrekeyPublish,
  ) {
    this.own = ownIdentityFor(label);
    const { signedPart, signature } = publication;
    this.#bundles = publication.oneTimePrekeys.map((oneTimePrekey) => (
      { peerId: to, signedPart, signature, oneTimePrekey, reason: null }
    ));
    if (this.#bundles.length === 0) throw new Error("Need one-time prekeys");
  }

  get peerId(): PeerId {
    return this.own.identity.peerId;
  }

  /** Opens a new session, in which what follows is written. */
  start(options: { oneTime?: boolean } = {}): Session {
    const bundle = this.#bundles.shift();
    if (!bundle?.signedPart || !bundle.signature) throw new Error("No bundle is left");
    const { peerId, signedPart, signature, oneTimePrekey } = bundle;
    this.session = startSession({
      self: this.own.session,
      remote: this.to,
      bundle: verifyBundle({ peerId, signedPart, signature, nowMs: this.host.now() }),
      oneTimePrekey: options.oneTime === false ? undefined : oneTimePrekey ?? undefined,
      ephemeral: x25519KeyPair(this.host.random(32)),
      ratchetPair: x25519KeyPair(this.host.random(32)),
      now: this.host.now(),
    });
    return this.session;
  }

  /** The next message as a mailbox delivers it; inner id and sequence can be those of another. */
  write(
    text: string | Uint8Array,
    inner: { id?: Uint8Array; sequence?: number } = {},
  ): Delivery {
    const id = inner.id ?? messageId(this.host.now(), this.host.random(10));
    const sequence = inner.sequence ?? ++this.#sequence;
    const data = typeof text === "string" ? utf8(text) : text;
    const plaintext = encodeMessage({ id, sequence, channel: "", sentAt: this.host.now(), data });
    const { session, body } = sealInSession(
      this.session ?? this.start(),
      plaintext,
      this.host.now(),
    );
    this.session = session;
    return {
      msgId: messageId(this.host.now(), this.host.random(10)),
      sender: this.peerId,
      encryptedPayload: body,
      sequenceNumber: sequence,
      inner: { id, sequence },
    };
  }

  /** Reads an answer in the current session. */
  read(body: Uint8Array): Uint8Array {
    if (!this.session) throw new Error("No session was opened");
    const pair = x25519KeyPair(this.host.random(32));
    const { session, plaintext } = openInSession(
      this.session,
      decodeBody(body),
      pair,
      this.host.now(),
    );
    this.session = session;
    return plaintext;
  }
}

/** A delivery, and what only its reader sees of it. */
export interface Delivery extends ForwardDeliver {
  readonly inner: { readonly id: Uint8Array; readonly sequence: number };
}
