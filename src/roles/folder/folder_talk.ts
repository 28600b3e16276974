import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  encodeFolderMessage,
  FOLDER_CHANNEL,
  type FolderMessage,
} from "../../protocol/folder/folder_messages.ts";
import { CairnError } from "../../base/errors.ts";
import type { Node } from "../peer/node.ts";
import type { SentCopy, SentMessage } from "../peer/node_api.ts";

/** What the sync of a folder needs of a node. */
export type FolderNode = Pick<
  Node,
  | "peerId"
  | "on"
  | "send"
  | "sendTransient"
  | "broadcast"
  | "roster"
  | "rosterMember"
  | "addContact"
  | "pairings"
>;

type WithoutFolder<Message> = Message extends unknown ? Omit<Message, "folder"> : never;
/** A message about this folder. */
export type FolderSaying = WithoutFolder<FolderMessage>;

/** A message on its way to one device or several. */
export interface Said {
  /** The ids of the messages, one for each of them; empty for one that was not even queued. */
  readonly ids: readonly string[];
  /** Resolves when all of them were accepted. */
  readonly accepted: Promise<void>;
}

/** The program writes by itself: whom the user knows is for the user to say. */
const OPTIONS = { addsContact: false };

/** Sends what is said about one folder. */
export class FolderTalk {
  readonly #node: FolderNode;
  readonly #folder: string;
  readonly #onUnsent: (peer: PeerId, error: unknown) => void;
  /** Messages that nobody has accepted yet. */
  #unaccepted = 0;
  closed = false;

  constructor(
    node: FolderNode,
    folder: string,
    onUnsent: (peer: PeerId, error: unknown) => void,
  ) {
    this.#node = node;
    this.#folder = folder;
    this.#onUnsent = onUnsent;
  }

  /** Whether everything that was said is with a server or its reader. */
  get idle(): boolean {
    return this.#unaccepted === 0;
  }

  /** Sends a message to one device. Resolves once it is durably queued. */
  async send(peer: PeerId, saying: FolderSaying): Promise<Said> {
    return await this.broadcast([peer], saying);
  }

  /**
   * Gives a device what it asked for: on a link to it, if there is one, and kept nowhere, since it
   * can ask again; else as an ordinary message. Resolves when it was taken, or accepted.
   */
  async give(peer: PeerId, saying: FolderSaying): Promise<void> {
    const data = this.#encode(saying);
    this.#unaccepted++;
    try {
      if (await this.#node.sendTransient(peer, FOLDER_CHANNEL, data)) return;
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
    } finally {
      this.#unaccepted--;
    }
    if (!this.closed) await (await this.send(peer, saying)).accepted;
  }

  /** The same for several devices. */
  async broadcast(peers: readonly PeerId[], saying: FolderSaying): Promise<Said> {
    const data = this.#encode(saying);
    const ids: string[] = [];
    const fates: Promise<void>[] = [];
    const together = peers.length > 1 ? await this.#sendToAll(peers, data) : undefined;
    for (const [index, peer] of peers.entries()) {
      const sent = together?.[index] ?? await this.#sendTo(peer, data);
      ids.push(sent?.id ?? "");
      if (!sent) continue;
      this.#unaccepted++;
      const fate = sent.accepted.finally(() => this.#unaccepted--);
      fate.catch((error) => this.#onUnsent(peer, error));
      fates.push(fate);
    }
    const accepted = Promise.all(fates).then(() => {});
    accepted.catch(() => {}); // Told above.
    return { ids, accepted };
  }

  #encode(saying: FolderSaying): Uint8Array {
    return encodeFolderMessage({ ...saying, folder: this.#folder });
  }

  /** Queues one message that a server stores once; `undefined` when one of them cannot be sent to. */
  async #sendToAll(
    peers: readonly PeerId[],
    data: Uint8Array,
  ): Promise<readonly SentCopy[] | undefined> {
    try {
      return await this.#node.broadcast(FOLDER_CHANNEL, data, { ...OPTIONS, to: peers });
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      return undefined;
    }
  }

  async #sendTo(peer: PeerId, data: Uint8Array): Promise<SentMessage | undefined> {
    try {
      return await this.#node.send(peer, FOLDER_CHANNEL, data, OPTIONS);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#onUnsent(peer, error);
      return undefined;
    }
  }
}
