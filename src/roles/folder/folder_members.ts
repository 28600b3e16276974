import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FileRecord } from "../../protocol/folder/file_record.ts";
import { recordSize } from "../../protocol/folder/file_record.ts";
import {
  type FolderMessage,
  MAX_RECORDS_PER_MESSAGE,
} from "../../protocol/folder/folder_messages.ts";
import type { FolderState } from "./folder_state.ts";
import type { FolderNode, FolderTalk } from "./folder_talk.ts";

/** Devices that may share one folder. */
const MAX_MEMBERS = 32;
/** Bytes of records in one message, roughly. */
const RECORD_BYTES_PER_MESSAGE = 600_000;

type StateMessage = Extract<FolderMessage, { kind: "state" }>;

/** A device that shares the folder. */
export interface Member {
  readonly peer: PeerId;
  /** What it said last of itself; `undefined` when that cannot hold any more. */
  digest: Uint8Array | undefined;
  missing: number;
  /** Which of its lives said so. */
  life: string;
  /** What it was told last of this device. */
  toldState: string;
  /** The two digests for which it was sent what it may lack. */
  healed: string;
}

/** What the members of a folder stand on. */
export interface FolderMembersParts {
  readonly node: FolderNode;
  readonly state: FolderState;
  readonly talk: FolderTalk;
  /** 8 random bytes. */
  readonly life: Uint8Array;
  /** Only these may share the folder; without it, every peer of the roster. */
  readonly only: readonly PeerId[] | undefined;
  readonly onJoined: (peer: PeerId) => void;
  /** A device was started anew: what it was asked before it does not know. */
  readonly onAnotherLife: (peer: PeerId) => void;
}

/** Which devices share a folder, and how far each of them is. */
export class FolderMembers {
  readonly #parts: FolderMembersParts;
  readonly #members = new Map<string, Member>();
  readonly #early = new Map<string, StateMessage>();

  constructor(parts: FolderMembersParts) {
    this.#parts = parts;
  }

  /** Members that can be written to. */
  list(): Member[] {
    return [...this.#members.values()].filter(({ peer }) => this.mayShare(peer));
  }

  online(): Member[] {
    return this.list().filter(({ peer }) => this.isOnline(peer));
  }

  /** Whether a device shares the folder, and may. */
  has(peer: PeerId): boolean {
    return this.#isAllowed(peer) && this.#members.has(peer.toString());
  }

  isOnline(peer: PeerId): boolean {
    return this.#parts.node.rosterMember(peer).online;
  }

  /** Whether a device may share the folder at all. */
  mayShare(peer: PeerId): boolean {
    const { only, node } = this.#parts;
    return this.#isAllowed(peer) && (only !== undefined || node.rosterMember(peer).known);
  }

  /** What a device is called: by the server's operator, or by the beginning of its Peer ID. */
  nameOf(peer: PeerId): string {
    return this.#parts.node.rosterMember(peer).name ?? `${peer.toString().slice(0, 8)}…`;
  }

  /** Takes up with the members of an earlier life, and asks each how far it is. */
  async start(parse: (text: string) => PeerId | undefined): Promise<void> {
    for (const [text, { joined }] of this.#parts.state.members) {
      const peer = joined ? parse(text) : undefined;
      if (!peer || !this.#isAllowed(peer)) continue;
      this.#add(peer);
      await this.#tell(peer, true);
    }
    await this.greetAll();
  }

  /** Asks every device that may share the folder, once, whether it does. */
  async greetAll(): Promise<void> {
    const { node, state, only } = this.#parts;
    const peers = only ?? node.roster().filter(({ known }) => known).map(({ peerId }) => peerId);
    for (const peer of peers) {
      if (peer.equals(node.peerId) || state.members.has(peer.toString())) continue;
      if (state.members.size >= MAX_MEMBERS * 8) return;
      // Whoever is named may write to this device; those of the roster only if they may anyway.
      if (only) await node.addContact(peer);
      await state.setMember(peer.toString(), { joined: false, told: 0 });
      await this.#tell(peer, true);
    }
  }

  /** The server tells of a device. */
  async appeared(peer: PeerId): Promise<void> {
    const early = this.#early.get(peer.toString());
    this.#early.delete(peer.toString());
    if (early) await this.hear(peer, early);
    if (!this.has(peer)) await this.greetAll();
  }

  /** A device came online. */
  async cameOnline(peer: PeerId): Promise<void> {
    if (this.has(peer)) await this.#tell(peer, false);
  }

  /** A device says how far it is, and with it that it shares the folder. */
  async hear(peer: PeerId, message: StateMessage): Promise<void> {
    const { life, digest, missing, asks } = message;
    const text = peer.toString();
    const isKnown = this.#members.has(text);
    if (!isKnown && !this.mayShare(peer)) {
      // What waited in the mailbox may come before the roster.
      if (this.#early.size < MAX_MEMBERS) this.#early.set(text, message);
      return;
    }
    if (!isKnown) {
      if (this.#members.size >= MAX_MEMBERS) return;
      const { index } = this.#parts.state;
      await this.#parts.state.setMember(text, { joined: true, told: index.sequence });
      this.#parts.onJoined(peer);
    }
    const member = this.#members.get(text) ?? this.#add(peer);
    const lives = toHex(life);
    if (member.life !== lives) this.#parts.onAnotherLife(peer);
    Object.assign(member, { life: lives, digest, missing });
    if (asks || !isKnown) await this.#tell(peer, false);
  }

  /** Its index will not be what it said any more. */
  outdate(peer: PeerId): void {
    const member = this.#members.get(peer.toString());
    if (member) member.digest = undefined;
  }

  /** Tells those that are there how far this device is, where they do not know. */
  async tellState(): Promise<void> {
    const current = this.#stateKey();
    for (const { peer, toldState } of this.online()) {
      if (toldState !== current) await this.#tell(peer, false);
    }
  }

  /** Sends every device whose index is another than this one's what it may lack. */
  async heal(): Promise<void> {
    const { state, talk } = this.#parts;
    const { index } = state;
    for (const member of this.list()) {
      const { peer, digest, healed } = member;
      const told = state.members.get(peer.toString())?.told ?? 0;
      if (!digest || index.digest.equals(digest) || told < index.sequence) continue;
      const key = `${toHex(index.digest.bytes)} ${toHex(digest)}`;
      if (key === healed) continue;
      member.healed = key;
      const differs = index.digest.differing(digest);
      const records = [...index.records()].filter(({ path }) => differs(path));
      for (const group of inMessages(records)) {
        await talk.send(peer, { kind: "changes", records: group, pushed: false });
      }
    }
  }

  /**
   * Whether a device has said that it has everything that this one has, and nothing else; in a full
   * index, everything of which it was told.
   */
  isUpToDate({ digest, missing }: Member): boolean {
    const { index } = this.#parts.state;
    return digest !== undefined && missing === 0 &&
      (index.leftOut > 0 || index.digest.equals(digest));
  }

  #isAllowed(peer: PeerId): boolean {
    const { only } = this.#parts;
    return !only || only.some((each) => each.equals(peer));
  }

  #stateKey(): string {
    const { index, missing } = this.#parts.state;
    return `${toHex(index.digest.bytes)} ${missing}`;
  }

  #add(peer: PeerId): Member {
    const nothing = { digest: undefined, missing: 0, life: "", toldState: "", healed: "" };
    const member: Member = { peer, ...nothing };
    this.#members.set(peer.toString(), member);
    return member;
  }

  async #tell(peer: PeerId, asks: boolean): Promise<void> {
    const { state, talk, life } = this.#parts;
    const member = this.#members.get(peer.toString());
    if (member) member.toldState = this.#stateKey();
    const digest = state.index.digest.bytes;
    await talk.send(peer, { kind: "state", life, digest, missing: state.missing, asks });
  }
}

/** Records by messages that are not too large. */
export function* inMessages(records: Iterable<FileRecord>): Generator<FileRecord[]> {
  let group: FileRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = recordSize(record);
    const isFull = bytes + size > RECORD_BYTES_PER_MESSAGE ||
      group.length >= MAX_RECORDS_PER_MESSAGE;
    if (isFull) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(record);
    bytes += size;
  }
  if (group.length > 0) yield group;
}
