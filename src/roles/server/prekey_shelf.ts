import { RateLimit } from "../../base/rate_limit.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { decodeSignedPart, verifyBundle } from "../../protocol/crypto/x3dh.ts";
import type { OneTimePrekey, PrekeyBundle, PrekeyPublish } from "../../protocol/prekey_messages.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";

/** One-time prekeys kept per peer; what is published beyond is left out. */
export const MAX_KEPT = 200;
/** Ids remembered per peer so that a key that was given out is not taken back in. */
const MAX_GIVEN_OUT = 1000;
/** Fetches of one requester. */
const FETCHES = { burst: 60, perSecond: 1 };
/** One-time keys of one peer for one requester: more are not needed, and others need them too. */
const ONE_TIME_KEYS = { burst: 10, perSecond: 10 / 3600 };

const BUNDLE = ["prekeys", "bundle"];
const ONE_TIME = ["prekeys", "one-time"];
const GIVEN_OUT = ["prekeys", "given-out"];

interface StoredBundle {
  readonly signedPart: Uint8Array;
  readonly signature: Uint8Array;
}

interface Shelf extends StoredBundle {
  readonly signedPrekeyId: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Oldest first. */
  readonly oneTime: Map<number, Uint8Array>;
  /** Oldest first; the last {@linkcode MAX_GIVEN_OUT}. */
  readonly givenOut: Set<number>;
}

/** The prekeys that peers leave for those who want to write to them. */
export class PrekeyShelf {
  readonly #commit: GroupCommit;
  readonly #host: Host;
  readonly #shelves = new Map<string, Shelf>();
  /** Changes of one peer's shelf, one after the other. */
  readonly #changes = new Map<string, Promise<unknown>>();
  readonly #fetches = new RateLimit(FETCHES);
  readonly #oneTimeKeys = new RateLimit(ONE_TIME_KEYS);

  private constructor(commit: GroupCommit, host: Host) {
    this.#commit = commit;
    this.#host = host;
  }

  static async open(
    { kv, commit, host }: { kv: Deno.Kv; commit: GroupCommit; host: Host },
  ): Promise<PrekeyShelf> {
    const prekeys = new PrekeyShelf(commit, host);
    for await (const { key, value } of kv.list<StoredBundle>({ prefix: BUNDLE })) {
      const shelf = newShelf(value);
      const peer = PeerId.fromBytes(bytesOf(key[2]));
      for await (const entry of kv.list<Uint8Array>({ prefix: [...ONE_TIME, peer.bytes] })) {
        shelf.oneTime.set(Number(entry.key[3]), entry.value);
      }
      const givenOut = await kv.get<number[]>([...GIVEN_OUT, peer.bytes]);
      for (const id of givenOut.value ?? []) shelf.givenOut.add(id);
      prekeys.#shelves.set(peer.toString(), shelf);
    }
    return prekeys;
  }

  /**
   * Keeps what `peer` published; resolves when it is durable. A one-time key that was given out
   * under its id before is not taken back in, unless all are replaced.
   *
   * @throws {ProtocolError} when the bundle is not validly signed by `peer`, or has expired.
   */
  async publish(peer: PeerId, message: PrekeyPublish): Promise<void> {
    const signedPart = message.signedPart.slice();
    const signature = message.signature.slice();
    verifyBundle({ peerId: peer, signedPart, signature, nowMs: this.#host.now() });
    await this.#inTurn(peer, async () => {
      const known = this.#shelves.get(peer.toString());
      const next = newShelf({ signedPart, signature });
      const ops: KvOperation[] = [
        { type: "set", key: [...BUNDLE, peer.bytes], value: { signedPart, signature } },
      ];
      if (known !== undefined && !message.replaceAll) {
        for (const [id, publicKey] of known.oneTime) next.oneTime.set(id, publicKey);
        for (const id of known.givenOut) next.givenOut.add(id);
      } else {
        for (const id of known?.oneTime.keys() ?? []) {
          ops.push({ type: "delete", key: oneTimeKey(peer, id) });
        }
        ops.push({ type: "delete", key: [...GIVEN_OUT, peer.bytes] });
      }
      for (const { id, publicKey } of message.oneTimePrekeys) {
        const full = next.oneTime.size >= MAX_KEPT;
        if (full || next.oneTime.has(id) || next.givenOut.has(id)) continue;
        const copy = publicKey.slice();
        next.oneTime.set(id, copy);
        ops.push({ type: "set", key: oneTimeKey(peer, id), value: copy });
      }
      await this.#commit.commit(ops);
      this.#shelves.set(peer.toString(), next);
    });
  }

  /**
   * The prekeys of `peer` for `requester`. A one-time key in it is durably gone from here. Says
   * the reason when there are none, or when `requester` asks too often.
   */
  async fetch(requester: PeerId, peer: PeerId): Promise<PrekeyBundle> {
    if (!this.#fetches.take(requester.toString(), this.#host.monotonic())) {
      return without(peer, "too many requests, try again in a minute");
    }
    return await this.#inTurn(peer, async () => {
      const shelf = this.#shelves.get(peer.toString());
      if (shelf === undefined) return without(peer, "the peer has published no prekeys");
      if (shelf.expiresAt < this.#host.now()) {
        return without(peer, "the prekeys of the peer have expired");
      }
      const { signedPart, signature } = shelf;
      const oneTimePrekey = await this.#takeOneTime(requester, peer, shelf);
      return { peerId: peer, signedPart, signature, oneTimePrekey, reason: null };
    });
  }

  status(peer: PeerId): { oneTimeLeft: number; signedPrekeyId: number | null } {
    const shelf = this.#shelves.get(peer.toString());
    return {
      oneTimeLeft: shelf?.oneTime.size ?? 0,
      signedPrekeyId: shelf?.signedPrekeyId ?? null,
    };
  }

  /** Forgets everything that `peer` published. */
  async remove(peer: PeerId): Promise<void> {
    await this.#inTurn(peer, async () => {
      const shelf = this.#shelves.get(peer.toString());
      if (shelf === undefined) return;
      await this.#commit.commit([
        { type: "delete", key: [...BUNDLE, peer.bytes] },
        { type: "delete", key: [...GIVEN_OUT, peer.bytes] },
        ...[...shelf.oneTime.keys()].map((id) => (
          { type: "delete", key: oneTimeKey(peer, id) } as const
        )),
      ], { freesSpace: true });
      this.#shelves.delete(peer.toString());
    });
  }

  /**
   * Throws all one-time keys away, after the store was restored: some of them were given out in
   * the meantime. The peers publish new ones when they see that none are left.
   */
  async dropOneTimeKeys(): Promise<void> {
    for (const [text, shelf] of this.#shelves) {
      const peer = PeerId.parse(text);
      if (!peer) continue;
      await this.#inTurn(peer, async () => {
        const ids = [...shelf.oneTime.keys()];
        await this.#commit.commit(
          ids.map((id) => ({ type: "delete", key: oneTimeKey(peer, id) })),
          { freesSpace: true },
        );
        for (const id of ids) shelf.oneTime.delete(id);
      });
    }
  }

  async #takeOneTime(
    requester: PeerId,
    peer: PeerId,
    shelf: Shelf,
  ): Promise<OneTimePrekey | null> {
    const [oldest] = shelf.oneTime;
    if (oldest === undefined) return null;
    if (!this.#oneTimeKeys.take(`${requester} ${peer}`, this.#host.monotonic())) return null;
    const [id, publicKey] = oldest;
    const givenOut = [...shelf.givenOut, id].slice(-MAX_GIVEN_OUT);
    try {
      await this.#commit.commit([
        { type: "delete", key: oneTimeKey(peer, id) },
        { type: "set", key: [...GIVEN_OUT, peer.bytes], value: givenOut },
      ], { freesSpace: true });
    } catch {
      // X3DH works without one, and a key that may come back must not be given out.
      return null;
    }
    shelf.oneTime.delete(id);
    shelf.givenOut.clear();
    for (const used of givenOut) shelf.givenOut.add(used);
    return { id, publicKey };
  }

  #inTurn<Result>(peer: PeerId, change: () => Promise<Result>): Promise<Result> {
    const key = peer.toString();
    const turn = (this.#changes.get(key) ?? Promise.resolve()).then(change);
    const settled = turn.catch(() => {}).then(() => {
      if (this.#changes.get(key) === settled) this.#changes.delete(key);
    });
    this.#changes.set(key, settled);
    return turn;
  }
}

function newShelf({ signedPart, signature }: StoredBundle): Shelf {
  const { signedPrekeyId, expiry } = decodeSignedPart(signedPart);
  return {
    signedPart,
    signature,
    signedPrekeyId,
    expiresAt: expiry * 1000,
    oneTime: new Map(),
    givenOut: new Set(),
  };
}

function without(peerId: PeerId, reason: string): PrekeyBundle {
  return { peerId, signedPart: null, signature: null, oneTimePrekey: null, reason };
}

function oneTimeKey(peer: PeerId, id: number): Deno.KvKey {
  return [...ONE_TIME, peer.bytes, id];
}

function bytesOf(part: Deno.KvKeyPart | undefined): Uint8Array {
  if (!(part instanceof Uint8Array)) throw new TypeError("A record's key is damaged");
  return part;
}
