import { getLogger } from "@logtape/logtape";
import { PeerId } from "../protocol/crypto/peer_id.ts";
import type { PairingMechanism } from "../protocol/pairing/pairing.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { KvStore } from "./kv_store.ts";

const log = getLogger(["cairn", "pairings"]);

const PREFIX = "pairing";
const MAX_URLS = 16;
const MAX_SIGNAL_SERVERS = 8;
const MAX_PREVIOUS_SECRETS = 4;

/** What one peer durably knows of a peer that it is paired with. */
export interface Pairing {
  readonly peerId: PeerId;
  readonly mechanism: PairingMechanism;
  /** Unix milliseconds. */
  readonly pairedAt: number;
  /** 32 bytes known to both; rendezvous topics and sealed messages follow from it. */
  readonly secret: Uint8Array;
  /**
   * Secrets before re-pairings, the latest first, kept until the current one was used: the other
   * side may have missed any confirmation since the last that is known to be in use.
   */
  readonly previousSecrets: readonly Uint8Array[];
  /** The peer was given this secret and has not said yet that it has it. */
  readonly unacknowledged: boolean;
  /** WebSocket URLs of signaling servers at which the peer said it can be found. */
  readonly signalServers: readonly string[];
  /** WebSocket URLs at which the peer was reached, the latest first. */
  readonly urls: readonly string[];
  /** Unix milliseconds, or 0. */
  readonly lastSeen: number;
}

/** What is recorded when a pairing succeeds. */
export type PairingRecord =
  & Pick<Pairing, "peerId" | "mechanism" | "pairedAt" | "secret">
  & Partial<Pick<Pairing, "unacknowledged" | "signalServers">>;

/** The durable list of paired peers; reads are from memory. */
export class PeerBook {
  readonly #pairings = new Map<string, Pairing>();
  #turn: Promise<void> = Promise.resolve();
  /** Called after a pairing was added, its secrets changed, or it was removed. */
  onChange: (peerId: PeerId) => void = () => {};

  private constructor(private readonly commit: GroupCommit) {}

  static async open(kv: KvStore, commit: GroupCommit): Promise<PeerBook> {
    const book = new PeerBook(commit);
    for await (const { key, value } of kv.list<StoredPairing>({ prefix: [PREFIX] })) {
      const peerId = PeerId.parse(String(key[1]));
      if (peerId) book.#pairings.set(peerId.toString(), { ...upToDate(value), peerId });
    }
    return book;
  }

  get(peerId: PeerId): Pairing | undefined {
    return this.#pairings.get(peerId.toString());
  }

  has(peerId: PeerId): boolean {
    return this.#pairings.has(peerId.toString());
  }

  list(): Pairing[] {
    return [...this.#pairings.values()];
  }

  /** Durably records a pairing; secrets that it replaces are kept until the new one was used. */
  async pair(record: PairingRecord): Promise<void> {
    await this.#inTurn(async () => {
      const known = this.get(record.peerId);
      const { signalServers = [], unacknowledged = false } = record;
      await this.#save({
        ...record,
        unacknowledged,
        previousSecrets: known ? withSecret(known) : [],
        signalServers: [...new Set([...signalServers, ...known?.signalServers ?? []])]
          .slice(0, MAX_SIGNAL_SERVERS),
        urls: known?.urls ?? [],
        lastSeen: known?.lastSeen ?? 0,
      });
    });
    this.onChange(record.peerId);
  }

  /**
   * Records that the peer was seen, where, and that its current secret is in use. Never rejects:
   * not being able to note it must not end a link.
   */
  async seen(peerId: PeerId, now: number, url?: string, secretUsed = false): Promise<void> {
    try {
      const changed = await this.#inTurn(() => this.#seen(peerId, now, url, secretUsed));
      if (changed) this.onChange(peerId);
    } catch (error) {
      log.debug("Could not note that a peer was seen: {error}", { error });
    }
  }

  async remove(peerId: PeerId): Promise<void> {
    await this.#inTurn(async () => {
      await this.commit.commit([{ type: "delete", key: [PREFIX, peerId.toString()] }], {
        freesSpace: true,
      });
      this.#pairings.delete(peerId.toString());
    });
    this.onChange(peerId);
  }

  /** Returns whether the secrets changed. */
  async #seen(
    peerId: PeerId,
    now: number,
    url: string | undefined,
    secretUsed: boolean,
  ): Promise<boolean> {
    const known = this.get(peerId);
    if (!known) return false;
    const urls = url === undefined
      ? known.urls
      : [url, ...known.urls.filter((other) => other !== url)].slice(0, MAX_URLS);
    const previousSecrets = secretUsed ? [] : known.previousSecrets;
    const unacknowledged = known.unacknowledged && !secretUsed;
    await this.#save({ ...known, previousSecrets, unacknowledged, urls, lastSeen: now });
    return previousSecrets.length !== known.previousSecrets.length ||
      unacknowledged !== known.unacknowledged;
  }

  async #save(pairing: Pairing): Promise<void> {
    const { peerId, ...stored } = pairing;
    await this.commit.commit([
      { type: "set", key: [PREFIX, peerId.toString()], value: stored satisfies StoredPairing },
    ]);
    this.#pairings.set(peerId.toString(), pairing);
  }

  /** One change after the other: each sees what the one before it left. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change);
    this.#turn = result.then(() => {}, () => {});
    return result;
  }
}

type StoredPairing = Omit<Pairing, "peerId">;

/** Beyond the bound it is not the oldest that goes: that is the one the other side surely had. */
function withSecret({ secret, previousSecrets }: Pairing): Uint8Array[] {
  const all = [secret, ...previousSecrets];
  return all.length > MAX_PREVIOUS_SECRETS ? all.toSpliced(-2, 1) : all;
}

/** Stores of the first releases know one earlier secret and neither of the other two fields. */
function upToDate(
  { previousSecret, ...stored }:
    & Partial<StoredPairing>
    & Omit<StoredPairing, "previousSecrets" | "unacknowledged" | "signalServers">
    & { readonly previousSecret?: Uint8Array | undefined },
): StoredPairing {
  return {
    previousSecrets: previousSecret ? [previousSecret] : [],
    unacknowledged: false,
    signalServers: [],
    ...stored,
  };
}
