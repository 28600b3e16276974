import { equalBytes } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FileRecord } from "../../protocol/folder/file_record.ts";
import type { Piece } from "../../protocol/folder/folder_messages.ts";
import { type FileContent, hashInList, pieceCount } from "../../protocol/folder/pieces.ts";
import { type FolderMembers, inMessages } from "./folder_members.ts";
import type { FolderState } from "./folder_state.ts";
import type { FolderTalk, Said } from "./folder_talk.ts";
import type { LocalContents } from "./local_contents.ts";
import { BYTES_PER_MESSAGE } from "./piece_giver.ts";

const CHANGES_AT_ONCE = 1_000;
const MAX_UNACCEPTED = 6;
const MAX_PIECES = 200;

/** What a teller stands on. */
export interface FolderTellerParts {
  readonly state: FolderState;
  readonly talk: FolderTalk;
  readonly members: FolderMembers;
  readonly contents: LocalContents;
  /** Most bytes that may wait in the mailbox for one device. */
  readonly pushLimit: number;
}

/**
 * Tells the others what was changed on this device. A device that is there asks for the contents; to
 * one that is away they are sent at once, as far as they may wait for it in the mailbox, so that two
 * devices need never be there together.
 */
export class FolderTeller {
  readonly #parts: FolderTellerParts;
  /** Bytes in the mailbox by message, for each device. */
  readonly #waiting = new Map<string, Map<string, number>>();
  /** Devices for which the mailbox had no room. */
  readonly #refused = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(parts: FolderTellerParts) {
    this.#parts = parts;
  }

  /** Whether everybody was told everything. */
  get idle(): boolean {
    return this.#running === undefined && this.#next() === undefined;
  }

  /** Tells what is to be told, unless that is under way. */
  tell(): Promise<void> {
    this.#running ??= this.#tellAll().finally(() => this.#running = undefined);
    return this.#running;
  }

  /** A device has taken a message. */
  delivered(peer: PeerId, id: string): void {
    this.#waiting.get(peer.toString())?.delete(id);
    this.#refused.delete(peer.toString());
  }

  /** The mailbox did not take a message. @returns whether contents were being sent to that device. */
  refused(peer: PeerId, id: string): boolean {
    const text = peer.toString();
    const isFirst = (this.#waiting.get(text)?.has(id) ?? false) && !this.#refused.has(text);
    this.#waiting.get(text)?.delete(id);
    this.#refused.add(text);
    return isFirst;
  }

  /** A device came: what it lacks it asks for. */
  cameOnline(peer: PeerId): void {
    this.#refused.delete(peer.toString());
  }

  async #tellAll(): Promise<void> {
    const { state, talk, members } = this.#parts;
    for (let next = this.#next(); next && !talk.closed; next = this.#next()) {
      const { peers, told, isAway } = next;
      const changes = state.index.after(told, CHANGES_AT_ONCE);
      const records = changes.map(({ record }) => record);
      for (const group of inMessages(records)) {
        await talk.broadcast(peers, { kind: "changes", records: group, pushed: isAway });
        if (isAway) await this.#push(peers, group);
      }
      const last = changes.at(-1)?.sequence ?? state.index.sequence;
      for (const peer of peers) {
        members.outdate(peer);
        await state.setMember(peer.toString(), { joined: true, told: last });
      }
    }
  }

  /** Devices that have been told equally far, and are all there or all away. */
  #next(): { peers: PeerId[]; told: number; isAway: boolean } | undefined {
    const { state, members } = this.#parts;
    const behind = members.list().map(({ peer }) => ({
      peer,
      told: state.members.get(peer.toString())?.told ?? 0,
      isAway: !members.isOnline(peer),
    })).filter(({ told }) => told < state.index.sequence);
    const [first] = behind;
    if (!first) return undefined;
    const { told, isAway } = first;
    const peers = behind.filter((each) => each.told === told && each.isAway === isAway);
    return { peers: peers.map(({ peer }) => peer), told, isAway };
  }

  async #push(peers: readonly PeerId[], records: readonly FileRecord[]): Promise<void> {
    const { state } = this.#parts;
    const gone = records.filter(({ content }) => content === null)
      .flatMap(({ path }) => state.replaced.get(path)?.hash ?? []);
    const unaccepted: Promise<void>[] = [];
    for (const { path, content } of records) {
      // What was renamed they have under its old name.
      if (!content || gone.includes(content.hash)) continue;
      for await (const { accepted } of this.#pushContent(peers, path, content)) {
        unaccepted.push(accepted.catch(() => {}));
        if (unaccepted.length >= MAX_UNACCEPTED) await unaccepted.shift();
      }
    }
    await Promise.all(unaccepted);
  }

  async *#pushContent(
    peers: readonly PeerId[],
    path: string,
    content: FileContent,
  ): AsyncGenerator<Said> {
    const { contents, talk, state } = this.#parts;
    const { hash, size } = content;
    const list = await contents.list(hash);
    if (!list) return;
    if (!content.list) {
      const to = this.#roomy(peers, list.length);
      if (to.length > 0) {
        yield this.#note(to, list.length, await talk.broadcast(to, { kind: "list", hash, list }));
      }
    }
    const before = state.replaced.get(path);
    const old = before?.list ?? (before && contents.knownList(before.hash));
    let pieces: Piece[] = [];
    let bytes = 0;
    for (let index = 0; index < pieceCount(size); index++) {
      if (old && equalBytes(hashInList(old, index), hashInList(list, index))) continue;
      const piece = await contents.piece(hash, index);
      if (!piece) break;
      if (bytes + piece.length > BYTES_PER_MESSAGE || pieces.length >= MAX_PIECES) {
        const to = this.#roomy(peers, bytes);
        if (to.length === 0) return;
        yield this.#note(to, bytes, await talk.broadcast(to, { kind: "pieces", pieces }));
        [pieces, bytes] = [[], 0];
      }
      pieces.push({ hash, index, bytes: piece });
      bytes += piece.length;
    }
    const to = this.#roomy(peers, bytes);
    if (pieces.length === 0 || to.length === 0) return;
    yield this.#note(to, bytes, await talk.broadcast(to, { kind: "pieces", pieces }));
  }

  /** Devices that are still away and for which so much more may wait. */
  #roomy(peers: readonly PeerId[], bytes: number): PeerId[] {
    const { members, pushLimit } = this.#parts;
    return peers.filter((peer) => {
      const text = peer.toString();
      const waiting = [...this.#waiting.get(text)?.values() ?? []];
      const sum = waiting.reduce((total, each) => total + each, bytes);
      return sum <= pushLimit && !this.#refused.has(text) && !members.isOnline(peer);
    });
  }

  #note(peers: readonly PeerId[], bytes: number, said: Said): Said {
    for (const [index, id] of said.ids.entries()) {
      const text = `${peers[index]}`;
      const waiting = this.#waiting.get(text) ?? new Map<string, number>();
      this.#waiting.set(text, waiting.set(id, bytes));
    }
    return said;
  }
}
