/** Something that happened at the server, as a program that manages it hears of it. */
export interface ServerEvent {
  /** As in `peer.connected`. */
  readonly type: string;
  /** JSON; Peer IDs, counts and states, never a secret. */
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** An event with its place in the order in which they happened. */
export interface NumberedEvent extends ServerEvent {
  /** `<start of the server>-<number>`: who was away says the last one it saw. */
  readonly id: string;
}

/** An event as listeners get it; one without an id is not kept. */
export type HeardEvent = ServerEvent & { readonly id?: string };

/** So many events are kept for listeners that come back. */
const KEPT = 256;

/** Tells listeners what happens; keeps the latest events for those that were away. */
export class ServerEvents {
  readonly #epoch: string;
  readonly #listeners = new Set<(event: HeardEvent) => void>();
  readonly #kept: NumberedEvent[] = [];
  #last = 0;

  /** `startedAt`: Unix milliseconds. */
  constructor(startedAt: number) {
    this.#epoch = startedAt.toString(36);
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  publish(event: ServerEvent): void {
    const numbered = { ...event, id: `${this.#epoch}-${++this.#last}` };
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

  /** What happened after the event `id`; `undefined` when that is no longer known. */
  since(id: string): readonly NumberedEvent[] | undefined {
    const [epoch, number] = id.split("-");
    const after = Number(number);
    const first = this.#last - this.#kept.length;
    const known = epoch === this.#epoch && Number.isSafeInteger(after) && after >= first &&
      after <= this.#last;
    return known ? this.#kept.slice(after - first) : undefined;
  }

  #tell(event: HeardEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
