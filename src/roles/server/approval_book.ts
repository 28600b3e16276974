import { equalBytes, utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { hkdfSha256 } from "../../protocol/crypto/primitives.ts";
import type { GroupCommit } from "../group_commit.ts";

const PREFIX = "approval";
const KEY_MARK = ["approval-psk"];
const MAX_APPROVED = 10_000;
/**
 * So short that it tells whether the key has changed, and next to nothing about the key to somebody
 * who reads the store.
 */
const MARK_LENGTH = 2;

/** What an operator has decided about a peer. */
type Decision = "approved" | "unpaired";

/**
 * The durable decisions of an operator about peers: who may pair without a key, and who was
 * unpaired and may not come back by a key that it still knows. Reads are from memory.
 */
export class ApprovalBook {
  readonly #decisions = new Map<string, Decision>();

  private constructor(
    private readonly commit: GroupCommit,
    /** Peers that the configuration approves. */
    private readonly configured: ReadonlySet<string>,
  ) {}

  /** Opens the book. With another `psk` than at the last start, denials are forgotten. */
  static async open(
    kv: Deno.Kv,
    commit: GroupCommit,
    options: { configured: readonly PeerId[]; psk: string | undefined },
  ): Promise<ApprovalBook> {
    const book = new ApprovalBook(commit, new Set(options.configured.map(String)));
    for await (const { key, value } of kv.list<Decision>({ prefix: [PREFIX] })) {
      const peerId = PeerId.parse(String(key[1]));
      if (peerId) book.#decisions.set(peerId.toString(), value);
    }
    await book.#followKey(kv, options.psk);
    return book;
  }

  /** Whether the peer needs no ceremony. */
  isApproved(peerId: PeerId): boolean {
    const text = peerId.toString();
    const decision = this.#decisions.get(text);
    return decision === "approved" || (decision === undefined && this.configured.has(text));
  }

  /** Whether an operator ended a pairing with it and has not let it in again. */
  wasUnpaired(peerId: PeerId): boolean {
    return this.#decisions.get(peerId.toString()) === "unpaired";
  }

  /** @throws {CairnError} `refused` when too many are approved. */
  async approve(peerId: PeerId): Promise<void> {
    const isNew = !this.#decisions.has(peerId.toString());
    if (isNew && this.#decisions.size >= MAX_APPROVED) {
      throw new CairnError(
        "refused",
        `There are ${MAX_APPROVED} decisions about peers already; unpair and allow fewer, or use ` +
          "a key",
      );
    }
    await this.#decide(peerId, "approved");
  }

  /** Keeps the peer out until it is approved, or the key changes. */
  async deny(peerId: PeerId): Promise<void> {
    await this.#decide(peerId, "unpaired");
  }

  /** Forgets an earlier denial: the operator gave the peer a PIN or link of its own. */
  async allow(peerId: PeerId): Promise<void> {
    if (this.wasUnpaired(peerId)) await this.#forget([peerId.toString()]);
  }

  async #decide(peerId: PeerId, decision: Decision): Promise<void> {
    const text = peerId.toString();
    if (this.#decisions.get(text) === decision) return;
    await this.commit.commit([{ type: "set", key: [PREFIX, text], value: decision }]);
    this.#decisions.set(text, decision);
  }

  async #forget(peers: readonly string[]): Promise<void> {
    for (const text of peers) {
      await this.commit.commit([{ type: "delete", key: [PREFIX, text] }], { freesSpace: true });
      this.#decisions.delete(text);
    }
  }

  async #followKey(kv: Deno.Kv, psk: string | undefined): Promise<void> {
    const mark = psk === undefined
      ? new Uint8Array(0)
      : hkdfSha256(utf8(psk), undefined, "psk of the last start", MARK_LENGTH);
    const known = (await kv.get<Uint8Array>(KEY_MARK)).value;
    if (known && equalBytes(known, mark)) return;
    if (known) {
      const denied = [...this.#decisions].filter(([, decision]) => decision === "unpaired");
      await this.#forget(denied.map(([text]) => text));
    }
    await this.commit.commit([{ type: "set", key: KEY_MARK, value: mark }]);
  }
}
