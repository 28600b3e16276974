import { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  encodeRoster,
  encodeRosterChange,
  MAX_ROSTER_ROWS,
  type Presence,
  type RosterRow,
} from "../../protocol/hub_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import type { LinkConnection } from "../link_connection.ts";

/** Milliseconds in which changes are gathered: a thousand peers that come back at once are one. */
const GATHERING = 50;

/** What a roster tells of. */
export interface RosterOptions {
  /** The paired peers. */
  readonly peers: () => readonly PeerId[];
  readonly isPaired: (peer: PeerId) => boolean;
  /** What a peer is called, for display. */
  readonly nameOf: (peer: PeerId) => string | null;
}

/** Tells paired peers of one another: who there is, by which name, and who is online. */
export class Roster {
  readonly #options: RosterOptions;
  readonly #listeners = new Set<LinkConnection>();
  /** Links that receive, by peer. */
  readonly #receiving = new Map<string, number>();
  readonly #changed = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RosterOptions) {
    this.#options = options;
  }

  /** A paired peer's link came up; one that declares `roster` is told from here on. */
  linkUp(link: LinkConnection): void {
    if (link.capabilities.has("roster")) {
      this.#sendAll(link);
      this.#listeners.add(link);
    }
    this.#count(link, 1);
  }

  linkDown(link: LinkConnection): void {
    this.#listeners.delete(link);
    this.#count(link, -1);
  }

  /** A peer was paired, unpaired or renamed. */
  changed(peer: PeerId): void {
    this.#changed.add(peer.toString());
    this.#timer ??= setTimeout(() => this.#flush(), GATHERING);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#listeners.clear();
  }

  #count(link: LinkConnection, step: 1 | -1): void {
    if (!link.capabilities.has("receive")) return;
    const text = link.remote.toString();
    const links = (this.#receiving.get(text) ?? 0) + step;
    if (links > 0) this.#receiving.set(text, links);
    else this.#receiving.delete(text);
    this.changed(link.remote);
  }

  #sendAll(link: LinkConnection): void {
    const peers = this.#options.peers().filter((peer) => !peer.equals(link.remote));
    const rows = peers.map((peer) => this.#row(peer));
    const parts = partsOf(rows);
    for (const [index, part] of parts.entries()) {
      const more = index < parts.length - 1;
      link.send(MessageType.Roster, encodeRoster({ rows: part, more }));
    }
  }

  #flush(): void {
    this.#timer = undefined;
    const peers = [...this.#changed].map((text) => PeerId.from(text));
    this.#changed.clear();
    const rows = peers.map((peer) => this.#row(peer));
    for (const link of this.#listeners) {
      const others = rows.filter(({ peerId }) => !peerId.equals(link.remote));
      if (others.length === 0) continue;
      for (const part of partsOf(others)) {
        link.send(MessageType.RosterChange, encodeRosterChange({ rows: part }));
      }
    }
  }

  #row(peerId: PeerId): RosterRow {
    const { isPaired, nameOf } = this.#options;
    if (!isPaired(peerId)) return { peerId, name: null, presence: "gone" };
    const presence: Presence = this.#receiving.has(peerId.toString()) ? "online" : "away";
    return { peerId, name: nameOf(peerId), presence };
  }
}

/** At least one part, so that a roster of nobody is told too. */
function partsOf(rows: readonly RosterRow[]): RosterRow[][] {
  const parts: RosterRow[][] = [];
  for (let start = 0; start < rows.length || start === 0; start += MAX_ROSTER_ROWS) {
    parts.push(rows.slice(start, start + MAX_ROSTER_ROWS));
  }
  return parts;
}
