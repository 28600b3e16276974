import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FolderMessage } from "../../protocol/folder/folder_messages.ts";
import type { PiecePlan } from "../../protocol/folder/piece_plan.ts";
import type { FolderMembers, Member } from "./folder_members.ts";
import type { FolderTalk } from "./folder_talk.ts";

/** Bytes that one device that is there is asked for ahead: 64 pieces. */
const WINDOW = 16 * 1_048_576;
/** The same for one that is away, whose answers wait in the mailbox. */
const AWAY_WINDOW = 64 * 1_048_576;
/** Without a piece for so long, what was asked is asked again. */
const STALLED_AFTER_MS = 60_000;

/** What a device lacked it may have after so long: a file that was just moved, for one. */
const ASKED_AGAIN_AFTER_MS = 5_000;
/** Each further time doubles it, up to this: two devices may lack what only a third one has. */
const LAST_ASKED_AGAIN_AFTER_MS = 300_000;

interface Source {
  /** When it was asked, or answered, last. */
  active: number;
  /** It may remember what it was asked and is not wanted any more. */
  forgetful: boolean;
  isAway: boolean;
  /** Since when it is known to lack something. */
  lackedAt?: number | undefined;
  /** How long after that it is asked again. */
  againAfter: number;
}

/** Asks other devices for the pieces that are missing: those that are there, and else any. */
export class PieceFetcher {
  readonly #plan: PiecePlan;
  readonly #members: FolderMembers;
  readonly #talk: FolderTalk;
  readonly #sources = new Map<string, Source>();

  constructor(plan: PiecePlan, members: FolderMembers, talk: FolderTalk) {
    this.#plan = plan;
    this.#members = members;
    this.#talk = talk;
  }

  /**
   * Asks for more, where there is room for it. `now` is in monotonic milliseconds; `evenAway` says
   * that it is certain who is away.
   */
  async ask(now: number, evenAway: boolean): Promise<void> {
    if (this.#plan.size === 0) return;
    const online = this.#members.online().sort((a, b) => a.missing - b.missing);
    for (const { peer } of online) await this.#askOne(peer, WINDOW, now, () => true);
    if (!evenAway) return;
    const others = this.#members.list().filter((member) => !online.includes(member));
    const nobodyThereHas = (hash: string) =>
      online.every(({ peer }) => this.#plan.isLackedBy(peer.toString(), hash));
    for (const { peer } of others) await this.#askOne(peer, AWAY_WINDOW, now, nobodyThereHas);
  }

  /** A message of this kind came from a device. */
  heard(peer: PeerId, now: number, kind: FolderMessage["kind"]): void {
    const source = this.#sources.get(peer.toString());
    if (!source) return;
    source.active = now;
    const hasMore = kind === "changes" || kind === "list" || kind === "pieces";
    if (hasMore) source.againAfter = ASKED_AGAIN_AFTER_MS;
  }

  /** A device does not have a content, at `now`. */
  lacks(peer: PeerId, hashes: readonly string[], now: number): void {
    const source = this.#sources.get(peer.toString());
    if (source) source.lackedAt ??= now;
    for (const hash of hashes) this.#plan.lacks(peer.toString(), hash);
  }

  /** A device does not know any more what it was asked. */
  forget(peer: PeerId): void {
    this.#plan.forget(peer.toString());
    this.#plan.mayHave(peer.toString());
    this.#sources.delete(peer.toString());
  }

  /** A device came online: it is asked rather than those that are away. */
  async cameOnline(peer: PeerId): Promise<void> {
    this.#plan.mayHave(peer.toString());
    for (const { peer: other } of this.#members.list()) {
      const source = this.#sources.get(other.toString());
      if (!source?.isAway || this.#plan.underWay(other.toString()) === 0) continue;
      this.#plan.forget(other.toString());
      await this.#talk.send(other, { kind: "want", requests: [], afresh: true });
    }
  }

  async #askOne(
    peer: Member["peer"],
    window: number,
    now: number,
    mayAsk: (hash: string) => boolean,
  ): Promise<void> {
    const text = peer.toString();
    const source = this.#sources.get(text) ??
      { active: now, forgetful: true, isAway: false, againAfter: ASKED_AGAIN_AFTER_MS };
    this.#sources.set(text, source);
    if (source.lackedAt !== undefined && now - source.lackedAt > source.againAfter) {
      source.lackedAt = undefined;
      source.againAfter = Math.min(2 * source.againAfter, LAST_ASKED_AGAIN_AFTER_MS);
      this.#plan.mayHave(text);
    }
    const isStalled = window === WINDOW && this.#plan.underWay(text) > 0 &&
      now - source.active > STALLED_AFTER_MS;
    if (isStalled) {
      this.#plan.forget(text);
      source.forgetful = true;
    }
    // In larger groups: a request for each piece that came would be as many messages as answers.
    if (this.#plan.underWay(text) > window / 2) return;
    const requests = this.#plan.ask(text, window, now, mayAsk);
    if (requests.length === 0) return;
    const afresh = source.forgetful;
    Object.assign(source, { active: now, forgetful: false, isAway: window !== WINDOW });
    await this.#talk.send(peer, { kind: "want", requests, afresh });
  }
}
