import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";

const PREFIX = "contact";
const MAX_CONTACTS = 10_000;

/** The peers that this one knows, pinned by Peer ID; durable, and read from memory. */
export class ContactBook {
  readonly #known = new Map<string, PeerId>();

  private constructor(private readonly commit: GroupCommit) {}

  static async open(kv: KvStore, commit: GroupCommit): Promise<ContactBook> {
    const book = new ContactBook(commit);
    for await (const { key } of kv.list({ prefix: [PREFIX] })) {
      const peerId = PeerId.parse(String(key[1]));
      if (peerId) book.#known.set(peerId.toString(), peerId);
    }
    return book;
  }

  has(peerId: PeerId): boolean {
    return this.#known.has(peerId.toString());
  }

  list(): PeerId[] {
    return [...this.#known.values()];
  }

  /** Durable when it resolves. @throws {CairnError} `refused` when there are too many. */
  async add(peerId: PeerId): Promise<void> {
    const text = peerId.toString();
    if (this.#known.has(text)) return;
    if (this.#known.size >= MAX_CONTACTS) {
      throw new CairnError("refused", `There are ${MAX_CONTACTS} contacts already; remove some`);
    }
    await this.commit.commit([{ type: "set", key: [PREFIX, text], value: true }]);
    this.#known.set(text, peerId);
  }

  async remove(peerId: PeerId): Promise<void> {
    const text = peerId.toString();
    if (!this.#known.has(text)) return;
    await this.commit.commit([{ type: "delete", key: [PREFIX, text] }], { freesSpace: true });
    this.#known.delete(text);
  }
}
