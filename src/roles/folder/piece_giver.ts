import { getLogger } from "@logtape/logtape";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Piece, PieceRequest } from "../../protocol/folder/folder_messages.ts";
import type { FolderSaying, FolderTalk } from "./folder_talk.ts";
import type { LocalContents } from "./local_contents.ts";

const log = getLogger(["cairn", "folder"]);

/** Bytes of pieces in one message, so that it fits. */
export const BYTES_PER_MESSAGE = 786_432;
const PIECES_PER_MESSAGE = 200;
/** Messages to one device that it has not taken, and no server accepted, yet. */
const MAX_UNACCEPTED = 6;
/** Pieces that one device may ask for ahead. */
const MAX_QUEUED = 2_048;
const LIST = -1;

interface Asked {
  readonly hash: string;
  readonly index: number;
}

interface Asker {
  readonly peer: PeerId;
  queue: Asked[];
  running: boolean;
}

/** Answers those who ask for pieces: in order, and no faster than the answers are taken. */
export class PieceGiver {
  readonly #contents: Pick<LocalContents, "list" | "piece">;
  readonly #talk: Pick<FolderTalk, "give" | "closed">;
  readonly #askers = new Map<string, Asker>();

  constructor(
    contents: Pick<LocalContents, "list" | "piece">,
    talk: Pick<FolderTalk, "give" | "closed">,
  ) {
    this.#contents = contents;
    this.#talk = talk;
  }

  /** Whether nobody waits for anything. */
  get idle(): boolean {
    return [...this.#askers.values()].every(({ running }) => !running);
  }

  want(peer: PeerId, requests: readonly PieceRequest[], afresh: boolean): void {
    const text = peer.toString();
    const asker = this.#askers.get(text) ?? { peer, queue: [], running: false };
    this.#askers.set(text, asker);
    if (afresh) asker.queue = [];
    for (const { hash, indices } of requests) {
      const wanted = indices.length === 0 ? [LIST] : indices;
      asker.queue.push(...wanted.map((index) => ({ hash, index })));
    }
    asker.queue.length = Math.min(asker.queue.length, MAX_QUEUED);
    if (asker.running) return;
    asker.running = true;
    this.#serve(asker).catch((error) => {
      log.warn("Pieces could not be given: {error}", { error });
    });
  }

  async #serve(asker: Asker): Promise<void> {
    const unaccepted: Promise<void>[] = [];
    try {
      // What is asked for while the last answers are on their way is served, too.
      while ((asker.queue.length > 0 || unaccepted.length > 0) && !this.#talk.closed) {
        const isFull = unaccepted.length >= MAX_UNACCEPTED || asker.queue.length === 0;
        if (isFull) await unaccepted.shift();
        else unaccepted.push(this.#give(asker.peer, await this.#nextAnswer(asker)));
      }
    } finally {
      // In the same turn as the last look at the queue: nothing is put into it unseen.
      asker.running = false;
    }
  }

  /** Resolves whether or not it got there: who lacks it asks again. */
  #give(peer: PeerId, answer: FolderSaying): Promise<void> {
    return this.#talk.give(peer, answer).catch((error) => {
      log.debug("A piece was not taken: {error}", { error });
    });
  }

  async #nextAnswer({ queue }: Asker): Promise<FolderSaying> {
    const [first] = queue;
    if (first?.index === LIST) {
      queue.shift();
      const list = await this.#contents.list(first.hash);
      return list
        ? { kind: "list", hash: first.hash, list }
        : { kind: "lack", hashes: [first.hash] };
    }
    const pieces: Piece[] = [];
    let bytes = 0;
    while (bytes < BYTES_PER_MESSAGE && pieces.length < PIECES_PER_MESSAGE) {
      const asked = queue[0];
      if (!asked || asked.index === LIST) break;
      const piece = await this.#contents.piece(asked.hash, asked.index);
      if (piece && bytes + piece.length > BYTES_PER_MESSAGE) break;
      if (!piece && pieces.length > 0) break;
      queue.shift();
      if (!piece) return { kind: "lack", hashes: [asked.hash] };
      pieces.push({ ...asked, bytes: piece });
      bytes += piece.length;
    }
    return { kind: "pieces", pieces };
  }
}
