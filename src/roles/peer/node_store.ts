import { getLogger } from "@logtape/logtape";
import { equalBytes } from "../../base/bytes.ts";
import type { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { GroupCommit } from "../group_commit.ts";
import { loadIdentity, type OwnIdentity } from "../identity_store.ts";
import { KvBlobs } from "../kv_blobs.ts";
import type { KvStore } from "../kv_store.ts";
import { LinkKeys } from "../link_keys.ts";
import { PeerBook } from "../peer_book.ts";
import { ContactBook } from "./contact_book.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import type { OutboxEvents } from "./outbox_entry.ts";
import { Prekeys } from "./prekeys.ts";
import { SessionStore } from "./session_store.ts";

const STORE_ID = ["store-id-followed"];

const log = getLogger(["cairn", "peer"]);

/** Where a peer's records are: a data folder, or a database of a browser. */
export interface NodePlace {
  readonly kv: KvStore;
  /** 16 random bytes; another value after the place was restored or copied, as far as that shows. */
  readonly storeId: Uint8Array;
  /** Resolves with the reason when the place is taken away while it is open. */
  readonly lost?: Promise<CairnError>;
  /** Room that is given up for changes that free some. */
  readonly reserve?: { release(): Promise<boolean> };
  close(): Promise<void>;
}

/** Everything of a peer that outlives its process, in one place. */
export class NodeStore {
  private constructor(
    readonly place: NodePlace,
    readonly commit: GroupCommit,
    readonly own: OwnIdentity,
    readonly linkKeys: LinkKeys,
    readonly book: PeerBook,
    readonly sessions: SessionStore,
    readonly prekeys: Prekeys,
    readonly inbox: Inbox,
    readonly outbox: Outbox,
    readonly outboxEvents: OutboxEvents,
    readonly contacts: ContactBook,
  ) {}

  /** Loads what is in `place`, which is closed if that fails. */
  static async load(place: NodePlace, host: Host): Promise<NodeStore> {
    try {
      const { kv } = place;
      const commit = new GroupCommit(kv, place.reserve);
      const blobs = new KvBlobs(kv, commit, ["blob"], host);
      await blobs.sweepStaged();
      const own = await loadIdentity(kv, host);
      const sessions = await SessionStore.open(kv, commit);
      const prekeys = await Prekeys.open(kv, commit, own, host);
      const events: OutboxEvents = { accepted() {}, delivered() {}, refused() {} };
      const store = new NodeStore(
        place,
        commit,
        own,
        new LinkKeys(own.identity, host),
        await PeerBook.open(kv, commit),
        sessions,
        prekeys,
        await Inbox.open({ kv, commit, blobs, sessions, prekeys, own, host }),
        await Outbox.open(kv, commit, blobs, host, events),
        events,
        await ContactBook.open(kv, commit),
      );
      await store.#followStoreId();
      return store;
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  /** After a rollback: nothing encrypts from old state again, and no old number is used again. */
  async startAfresh(): Promise<void> {
    await this.sessions.retireAll();
    await this.prekeys.replaceAll();
    await this.outbox.sequences.jump();
  }

  /** Another store id than the one last acted on: the folder was copied, or restored. */
  async #followStoreId(): Promise<void> {
    const { kv, storeId } = this.place;
    const known = (await kv.get<Uint8Array>(STORE_ID)).value;
    if (known && equalBytes(known, storeId)) return;
    if (known) {
      log.warn("The store was copied or restored: new sessions and keys are used from now");
      await this.startAfresh();
    }
    await this.commit.commit([{ type: "set", key: STORE_ID, value: storeId }]);
  }

  async close(): Promise<void> {
    await this.commit.close();
    await this.place.close();
  }
}
