import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Presence, Roster, RosterRow } from "../../protocol/hub_messages.ts";
import type { RosterMember } from "./node_api.ts";

/** Peers that one server may tell of. */
const MAX_ROWS = 10_000;

interface ToldRoster {
  readonly server: PeerId;
  rows: Map<string, RosterRow>;
  /** The server has told of everybody once. */
  isWhole: boolean;
  /** Rows of a roster whose last message has not come yet. */
  coming: Map<string, RosterRow> | undefined;
}

/** What the servers of a peer tell of their other peers, put together. */
export class RosterView {
  readonly #told = new Map<string, ToldRoster>();
  /** Contacts added since this process began that no server has told of yet. */
  readonly #awaited = new Set<string>();
  readonly #onChange: (member: RosterMember) => void;

  /** @param onChange is called with each member that looks different from before. */
  constructor(onChange: (member: RosterMember) => void) {
    this.#onChange = onChange;
  }

  /** A message of a roster came. @throws {ProtocolError} `too-large`. */
  take(server: PeerId, { rows, more }: Roster): void {
    const told = this.#of(server);
    const coming = told.coming ?? new Map<string, RosterRow>();
    put(coming, rows);
    told.coming = more ? coming : undefined;
    if (more) return;
    told.isWhole = true;
    this.#changing([...told.rows.values(), ...coming.values()], () => told.rows = coming);
  }

  /** A change came. @throws {ProtocolError} `too-large`. */
  change(server: PeerId, rows: readonly RosterRow[]): void {
    const told = this.#of(server);
    if (told.coming) put(told.coming, rows);
    this.#changing(rows, () => put(told.rows, rows));
  }

  /** Nothing is heard of `server` any more: who was online through it may not be. */
  silent(server: PeerId): void {
    const told = this.#told.get(server.toString());
    if (!told) return;
    told.coming = undefined;
    const rows = [...told.rows.values()].map((row) => ({ ...row, presence: "away" as const }));
    this.#changing(rows, () => put(told.rows, rows));
  }

  /** `server` is not a paired one any more. */
  forget(server: PeerId): void {
    const told = this.#told.get(server.toString());
    if (!told) return;
    this.#changing([...told.rows.values()], () => this.#told.delete(server.toString()));
  }

  /** Everybody that some server tells of. */
  list(): RosterMember[] {
    const peers = new Map<string, PeerId>();
    for (const { rows } of this.#told.values()) {
      for (const [text, { peerId }] of rows) peers.set(text, peerId);
    }
    return [...peers.values()].map((peerId) => this.member(peerId));
  }

  member(peerId: PeerId): RosterMember {
    const rows = [...this.#told.values()].flatMap(({ rows }) => rows.get(`${peerId}`) ?? []);
    return {
      peerId,
      name: rows.find(({ name }) => name !== null)?.name ?? undefined,
      online: rows.some(({ presence }) => presence === "online"),
      known: rows.length > 0,
    };
  }

  /** What `server` says of a peer; `undefined` when it has sent no roster. */
  presence(server: PeerId, peerId: PeerId): Presence | undefined {
    const told = this.#told.get(server.toString());
    return told && (told.rows.get(peerId.toString())?.presence ?? "gone");
  }

  /** A contact was added: its servers may have yet to tell of it, so it is not gone. */
  expect(peerId: PeerId): void {
    if (!this.member(peerId).known) this.#awaited.add(peerId.toString());
  }

  /** It is no contact any more. */
  unexpect(peerId: PeerId): void {
    this.#awaited.delete(peerId.toString());
  }

  /**
   * Whether all of `servers` have said whom they know, and none knows `peerId`. Whoever is awaited
   * is not gone: a peer may write to a device before the roster that names it has come.
   */
  isGone(peerId: PeerId, servers: readonly PeerId[]): boolean {
    if (this.#awaited.has(peerId.toString())) return false;
    return servers.every((server) => {
      const told = this.#told.get(server.toString());
      return told?.isWhole === true && !told.rows.has(peerId.toString());
    });
  }

  #of(server: PeerId): ToldRoster {
    const text = server.toString();
    let told = this.#told.get(text);
    if (!told) {
      this.#told.set(text, told = { server, rows: new Map(), isWhole: false, coming: undefined });
    }
    return told;
  }

  /** Reports which of the members that `rows` are about look different after `change`. */
  #changing(rows: readonly RosterRow[], change: () => void): void {
    const before = new Map(rows.map(({ peerId }) => [`${peerId}`, this.member(peerId)]));
    change();
    for (const old of before.values()) {
      const member = this.member(old.peerId);
      if (member.known) this.#awaited.delete(member.peerId.toString());
      const same = member.name === old.name && member.online === old.online &&
        member.known === old.known;
      if (!same) this.#onChange(member);
    }
  }
}

function put(map: Map<string, RosterRow>, rows: readonly RosterRow[]): void {
  for (const row of rows) {
    if (row.presence === "gone") map.delete(row.peerId.toString());
    else map.set(row.peerId.toString(), row);
  }
  if (map.size > MAX_ROWS) throw new ProtocolError("too-large", "A roster of too many peers");
}
