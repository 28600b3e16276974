import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit } from "../group_commit.ts";

const PREFIX = "peer-name";

/** What the operator calls the peers; durable, and read from memory. */
export class PeerNames {
  readonly #commit: GroupCommit;
  readonly #names = new Map<string, string>();
  /** Called after a peer got another name, or none. */
  onChange: (peerId: PeerId) => void = () => {};

  private constructor(commit: GroupCommit) {
    this.#commit = commit;
  }

  static async open(kv: Deno.Kv, commit: GroupCommit): Promise<PeerNames> {
    const names = new PeerNames(commit);
    for await (const { key, value } of kv.list<string>({ prefix: [PREFIX] })) {
      names.#names.set(String(key[1]), value.toWellFormed());
    }
    return names;
  }

  get(peerId: PeerId): string | undefined {
    return this.#names.get(peerId.toString());
  }

  /** `null` takes the name away. */
  async set(peerId: PeerId, name: string | null): Promise<void> {
    const text = peerId.toString();
    const key = [PREFIX, text];
    if (name === null) {
      if (!this.#names.has(text)) return;
      await this.#commit.commit([{ type: "delete", key }], { freesSpace: true });
      this.#names.delete(text);
    } else {
      await this.#commit.commit([{ type: "set", key, value: name }]);
      this.#names.set(text, name);
    }
    this.onChange(peerId);
  }
}
