import type { Host } from "../../base/host.ts";

/** What happens at a server, with the data that each event carries. */
export const EVENTS = {
  "peer.connected": "The first link of a paired peer came up: `peer_id`",
  "peer.disconnected": "Its last link ended: `peer_id`",
  "peer.paired": "A peer was paired: `peer_id`, `mechanism`, `offer_id` or null",
  "peer.unpaired": "A pairing ended: `peer_id`, `by` (`operator` or `peer`)",
  "peer.changed": "Its name or quotas: `peer_id`, `name`, `quota_messages`, `quota_bytes`",
  "pairing.requested": "A peer asks to be paired: `peer_id`, `sas`",
  "pairing.approved": "An operator approved a peer: `peer_id`",
  "pairing.refused": "An operator turned a peer down: `peer_id`",
  "pairing.offer-made": "A PIN or link was made: `id`, `kind`, `state`, `failures`, `peer_id`",
  "pairing.offer-ended": "It was redeemed, or has ended otherwise: the same",
  "pairing.attempt-failed": "Somebody did not know the PIN, link or key; of a flood not each is " +
    "told: `mechanism`",
  "queue.changed": "What waits for a peer, at most once a second and not repeated: `peer_id`, " +
    "`pending_messages`, `stored_bytes`, `quota_messages`, `quota_bytes`, `refused`, `reason`",
  "backup.made": "The server wrote a backup by itself: `path`, `bytes`, `records`",
  "backup.failed": "It could not: `reason`",
  "queue.purged": "An operator dropped what waited for a peer: `peer_id`, `purged`",
} as const;

/** Something that happened at the server, as a program that manages it hears of it. */
export interface ServerEvent {
  readonly type: keyof typeof EVENTS;
  /** JSON; Peer IDs, counts and states, never a secret. */
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** An event with its place in the order in which they happened. */
export interface NumberedEvent extends ServerEvent {
  /** `<start of the server>-<number>`: who was away says the last one it saw. */
  readonly id: string;
  /** Unix milliseconds. */
  readonly at: number;
}

/** An event as listeners get it; one without an id is not kept. */
export type HeardEvent = ServerEvent & { readonly id?: string };

/** So many events are kept for listeners that come back. */
const KEPT = 256;

/** Tells listeners what happens; keeps the latest events for those that were away. */
export class ServerEvents {
  readonly #host: Pick<Host, "now">;
  readonly #epoch: string;
  readonly #listeners = new Set<(event: HeardEvent) => void>();
  readonly #kept: NumberedEvent[] = [];
  #last = 0;

  constructor(host: Pick<Host, "now">) {
    this.#host = host;
    this.#epoch = host.now().toString(36);
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  publish(event: ServerEvent): void {
    const numbered = { ...event, id: this.#idOf(++this.#last), at: this.#host.now() };
    this.#kept.push(numbered);
    if (this.#kept.length > KEPT) this.#kept.shift();
    this.#tell(numbered);
  }

  /** Tells a state of things that only those need to know who listen at the moment. */
  mention(event: ServerEvent): void {
    this.#tell(event);
  }

  /**
   * Calls `listener`, which must not throw, with every event; returns what ends that.
   */
  subscribe(listener: (event: HeardEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The latest events that are kept, the oldest first, and the id to listen on from. */
  recent(): { readonly events: readonly NumberedEvent[]; readonly lastId: string } {
    return { events: this.#kept, lastId: this.#idOf(this.#last) };
  }

  /** What happened after the event `id`; `undefined` when that is no longer known. */
  since(id: string): readonly NumberedEvent[] | undefined {
    const [epoch, number] = id.split("-");
    const after = Number(number);
    const first = this.#last - this.#kept.length;
    const known = epoch === this.#epoch && Number.isSafeInteger(after) && after >= first &&
      after <= this.#last;
    return known ? this.#kept.slice(after - first) : undefined;
  }

  #idOf(number: number): string {
    return `${this.#epoch}-${number}`;
  }

  #tell(event: HeardEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
