import { concatBytes } from "../../base/bytes.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  decodeSession,
  encodeSession,
  MAX_SESSIONS,
  type Session,
  sessionKey,
} from "../../protocol/session/session.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";
import { Turns } from "../turns.ts";

/** Bytes of a session in one KV value; skipped keys can make it longer than one value may be. */
const PART_LENGTH = 60_000;

interface Held {
  readonly session: Session;
  readonly parts: number;
}

/** A change that a caller commits together with its own, and then applies in memory. */
export interface StoreStep {
  readonly operations: KvOperation[];
  /** To be called once the operations are durable. */
  readonly apply: () => void;
}

/**
 * The end-to-end sessions of one peer. All steps with one remote run one after another under
 * {@linkcode locked}.
 */
export class SessionStore {
  readonly #sessions = new Map<string, Map<string, Held>>();
  readonly #turns = new Turns();

  private constructor(private readonly commit: GroupCommit) {}

  static async open(kv: KvStore, commit: GroupCommit): Promise<SessionStore> {
    const store = new SessionStore(commit);
    let parts: Uint8Array[] = [];
    for await (const { key, value } of kv.list<Uint8Array>({ prefix: ["session"] })) {
      const [, remote, , index, count] = key;
      parts.push(value);
      if (Number(index) + 1 < Number(count)) continue;
      const session = decodeSession(concatBytes(...parts));
      store.#of(String(remote)).set(sessionKey(session.id), { session, parts: parts.length });
      parts = [];
    }
    return store;
  }

  /** Sessions with `remote`. */
  list(remote: PeerId): Session[] {
    return [...this.#sessions.get(remote.toString())?.values() ?? []].map(({ session }) => session);
  }

  get(remote: PeerId, sessionId: Uint8Array): Session | undefined {
    return this.#sessions.get(remote.toString())?.get(sessionKey(sessionId))?.session;
  }

  /** Runs `step` after every earlier step with the same remote has ended. */
  locked<T>(remote: PeerId, step: () => Promise<T>): Promise<T> {
    return this.#turns.take(remote.toString(), step);
  }

  /**
   * The step that makes `session` durable: the operations for a commit, and `apply` to take it over
   * in memory afterwards. The least used session beyond the bound goes in the same commit.
   */
  step(remote: PeerId, session: Session): StoreStep {
    const bytes = encodeSession(session);
    const count = Math.max(1, Math.ceil(bytes.length / PART_LENGTH));
    const sessions = this.#of(remote.toString());
    const held = sessions.get(sessionKey(session.id));
    const operations: KvOperation[] = [];
    if (held && held.parts !== count) operations.push(...removal(remote, held));
    for (let index = 0; index < count; index++) {
      operations.push({
        type: "set",
        key: partKey(remote, session, index, count),
        value: bytes.slice(index * PART_LENGTH, (index + 1) * PART_LENGTH),
      });
    }
    const surplus = held ? undefined : this.#surplus(remote);
    if (surplus) operations.push(...removal(remote, surplus));
    const apply = () => {
      if (surplus) sessions.delete(sessionKey(surplus.session.id));
      sessions.set(sessionKey(session.id), { session, parts: count });
    };
    return { operations, apply };
  }

  /**
   * After a step that did not become durable: takes the stored state again, from which the same
   * message may be encrypted once more, to the same bytes.
   */
  revert(remote: PeerId, sessionId: Uint8Array): void {
    const sessions = this.#of(remote.toString());
    const held = sessions.get(sessionKey(sessionId));
    if (!held) return;
    const session = decodeSession(encodeSession(held.session));
    sessions.set(sessionKey(sessionId), { ...held, session });
  }

  /** Durably ends encryption in all sessions with a remote that the caller has locked. */
  async retire(remote: PeerId): Promise<void> {
    for (const session of this.list(remote)) {
      if (session.retired) continue;
      const { operations, apply } = this.step(remote, { ...session, retired: true });
      await this.commit.commit(operations);
      apply();
    }
  }

  /** The same with every remote, each after the steps with it that are under way. */
  async retireAll(): Promise<void> {
    for (const text of [...this.#sessions.keys()]) {
      const remote = PeerId.parse(text);
      if (remote) await this.locked(remote, () => this.retire(remote));
    }
  }

  #of(remote: string): Map<string, Held> {
    let sessions = this.#sessions.get(remote);
    if (!sessions) this.#sessions.set(remote, sessions = new Map());
    return sessions;
  }

  #surplus(remote: PeerId): Held | undefined {
    const sessions = [...this.#of(remote.toString()).values()];
    if (sessions.length < MAX_SESSIONS) return undefined;
    return sessions.sort((a, b) => a.session.usedAt - b.session.usedAt)[0];
  }
}

function partKey(remote: PeerId, session: Session, index: number, count: number): Deno.KvKey {
  return ["session", remote.toString(), sessionKey(session.id), index, count];
}

function removal(remote: PeerId, held: Held): KvOperation[] {
  return Array.from({ length: held.parts }, (_, index) => ({
    type: "delete",
    key: partKey(remote, held.session, index, held.parts),
  }));
}
