import { readU16 } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import { type KeyPair, x25519KeyPair } from "../../protocol/crypto/primitives.ts";
import { encodeSignedPart, signBundle } from "../../protocol/crypto/x3dh.ts";
import type { MailboxStatus } from "../../protocol/forward_messages.ts";
import type { PrekeyPublish } from "../../protocol/prekey_messages.ts";
import { BODY_VERSION } from "../../protocol/session/message_body.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { KvStore } from "../kv_store.ts";

const DAY = 86_400_000;
/** Life of a signed prekey, and how long before its end the next one is made. */
const SIGNED_LIFETIME = 30 * DAY;
const SIGNED_RENEWAL = 10 * DAY;
const DEFAULT_RETENTION = 7 * DAY;
const LONGEST_RETENTION = 90 * DAY;
const ONE_TIME_TARGET = 100;
const ONE_TIME_LOW = 25;
/** Private one-time keys kept; older ones were handed out by a server and never used. */
const ONE_TIME_KEPT = 2_000;

/** By how much prekey numbers jump after a rollback, and where they start over (32 bits). */
const ID_JUMP = 4_096;
const LAST_ID = 0xf000_0000;
const RETENTION = ["prekey", "retention"];

interface StoredSigned {
  readonly secret: Uint8Array;
  /** Unix milliseconds. */
  readonly expiry: number;
}

/** The prekeys of one peer: private halves on disk, public halves published to its servers. */
export class Prekeys {
  readonly #signed = new Map<number, { pair: KeyPair; expiry: number }>();
  readonly #oneTime = new Map<number, KeyPair>();
  #nextId = 1;
  #turn: Promise<void> = Promise.resolve();
  /** Longest time, in milliseconds, that a mailbox of this peer keeps messages. */
  #retention = DEFAULT_RETENTION;

  private constructor(
    private readonly own: OwnIdentity,
    private readonly commit: GroupCommit,
    private readonly host: Host,
  ) {}

  static async open(
    kv: KvStore,
    commit: GroupCommit,
    own: OwnIdentity,
    host: Host,
  ): Promise<Prekeys> {
    const prekeys = new Prekeys(own, commit, host);
    for await (const { key, value } of kv.list<StoredSigned>({ prefix: ["prekey", "signed"] })) {
      prekeys.#signed.set(Number(key[2]), {
        pair: x25519KeyPair(value.secret),
        expiry: value.expiry,
      });
    }
    for await (const { key, value } of kv.list<Uint8Array>({ prefix: ["prekey", "one-time"] })) {
      prekeys.#oneTime.set(Number(key[2]), x25519KeyPair(value));
    }
    prekeys.#retention = (await kv.get<number>(RETENTION)).value ?? DEFAULT_RETENTION;
    prekeys.#nextId = (await kv.get<number>(["prekey", "next"])).value ?? 1;
    return prekeys;
  }

  /** How long ids of messages and sessions must be remembered: until no key opens a repeat. */
  get seenFor(): number {
    return SIGNED_LIFETIME + this.#grace + DAY;
  }

  /** How long past its expiry a signed private key still opens what waited in a mailbox. */
  get #grace(): number {
    return 2 * this.#retention;
  }

  /** The private half of a signed prekey, while it may still be needed. */
  signed(id: number): KeyPair | undefined {
    const signed = this.#signed.get(id);
    return signed && signed.expiry + this.#grace >= this.host.now() ? signed.pair : undefined;
  }

  /** The private half of a one-time prekey that was not used yet. */
  oneTime(id: number): KeyPair | undefined {
    return this.#oneTime.get(id);
  }

  /** Operation for the commit that stores the first message opened with a one-time key. */
  consume(id: number): KvOperation[] {
    return [{ type: "delete", key: ["prekey", "one-time", id] }];
  }

  /** To be called once that commit is durable. */
  consumed(id: number): void {
    this.#oneTime.delete(id);
  }

  /**
   * What to publish to a server with this status, or `undefined` when it has enough. The private
   * halves are durable before this returns.
   */
  publication(status: MailboxStatus): Promise<PrekeyPublish | undefined> {
    return this.#inTurn(() => this.#publication(status));
  }

  /** Forgets every prekey, after this peer's state was rolled back; the next status republishes. */
  replaceAll(): Promise<void> {
    return this.#inTurn(() => this.#replaceAll());
  }

  async #publication(status: MailboxStatus): Promise<PrekeyPublish | undefined> {
    const retention = Math.min(status.retentionSeconds * 1000, LONGEST_RETENTION);
    if (retention > this.#retention) {
      await this.commit.commit([{ type: "set", key: RETENTION, value: retention }]);
      this.#retention = retention;
    }
    const current = await this.#currentSigned();
    const replaceAll = status.signedPrekeyId === null ||
      (status.signedPrekeyId !== current.id && !this.#signed.has(status.signedPrekeyId));
    const stocked = !replaceAll && status.oneTimePrekeysLeft >= ONE_TIME_LOW;
    if (stocked && status.signedPrekeyId === current.id) return undefined;
    const wanted = ONE_TIME_TARGET - (replaceAll ? 0 : status.oneTimePrekeysLeft);
    const oneTimePrekeys = await this.#makeOneTime(Math.max(0, wanted));
    return { ...this.#bundle(current), oneTimePrekeys, replaceAll };
  }

  /** What a peer on a link of its own needs to open a session: a bundle without a one-time key. */
  bundle(): Promise<{ signedPart: Uint8Array; signature: Uint8Array }> {
    return this.#inTurn(async () => this.#bundle(await this.#currentSigned()));
  }

  #bundle(current: { id: number; pair: KeyPair; expiry: number }) {
    const { identity, session } = this.own;
    const signedPart = encodeSignedPart({
      versions: [BODY_VERSION],
      identityKey: identity.publicKey,
      x3dhKey: session.x3dhPair.publicKey,
      x3dhCertificate: session.x3dhCertificate,
      signedPrekeyId: current.id,
      signedPrekey: current.pair.publicKey,
      expiry: Math.floor(current.expiry / 1000),
    });
    return { signedPart, signature: signBundle(identity, signedPart) };
  }

  async #replaceAll(): Promise<void> {
    const operations: KvOperation[] = [
      ...[...this.#signed.keys()].map((id) => remove("signed", id)),
      ...[...this.#oneTime.keys()].map((id) => remove("one-time", id)),
    ];
    // A rolled-back counter may have given the next numbers away already.
    const next = this.#nextId + ID_JUMP + readU16(this.host.random(2), 0);
    this.#nextId = next < LAST_ID ? next : 1;
    operations.push({ type: "set", key: ["prekey", "next"], value: this.#nextId });
    for (let start = 0; start < operations.length; start += 500) {
      await this.commit.commit(operations.slice(start, start + 500));
    }
    this.#signed.clear();
    this.#oneTime.clear();
  }

  /** Numbers are given out one change after the other. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change);
    this.#turn = result.then(() => {}, () => {});
    return result;
  }

  async #currentSigned(): Promise<{ id: number; pair: KeyPair; expiry: number }> {
    const now = this.host.now();
    const [id, newest] = [...this.#signed].at(-1) ?? [];
    if (id !== undefined && newest && newest.expiry - now > SIGNED_RENEWAL) {
      return { id, ...newest };
    }
    const made = {
      id: this.#nextId,
      pair: x25519KeyPair(this.host.random(32)),
      expiry: now + SIGNED_LIFETIME,
    };
    const outdated = [...this.#signed]
      .filter(([, { expiry }]) => expiry + this.#grace < now).map(([old]) => old);
    await this.commit.commit([
      {
        type: "set",
        key: ["prekey", "signed", made.id],
        value: { secret: made.pair.secret, expiry: made.expiry } satisfies StoredSigned,
      },
      { type: "set", key: ["prekey", "next"], value: made.id + 1 },
      ...outdated.map((old) => remove("signed", old)),
    ]);
    this.#nextId = made.id + 1;
    for (const old of outdated) this.#signed.delete(old);
    this.#signed.set(made.id, { pair: made.pair, expiry: made.expiry });
    return made;
  }

  async #makeOneTime(count: number): Promise<{ id: number; publicKey: Uint8Array }[]> {
    const first = this.#nextId;
    const made = Array.from({ length: count }, (_, index) => ({
      id: first + index,
      pair: x25519KeyPair(this.host.random(32)),
    }));
    const surplus = [...this.#oneTime.keys()]
      .slice(0, Math.max(0, this.#oneTime.size + count - ONE_TIME_KEPT));
    await this.commit.commit([
      ...made.map(({ id, pair }): KvOperation => ({
        type: "set",
        key: ["prekey", "one-time", id],
        value: pair.secret,
      })),
      { type: "set", key: ["prekey", "next"], value: first + count },
      ...surplus.map((id) => remove("one-time", id)),
    ]);
    this.#nextId = first + count;
    for (const id of surplus) this.#oneTime.delete(id);
    for (const { id, pair } of made) this.#oneTime.set(id, pair);
    return made.map(({ id, pair }) => ({ id, publicKey: pair.publicKey }));
  }
}

function remove(kind: "signed" | "one-time", id: number): KvOperation {
  return { type: "delete", key: ["prekey", kind, id] };
}
