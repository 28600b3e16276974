/** Bounds of a {@linkcode RecordStore}. */
export interface RecordLimits {
  /** Records at a time. */
  readonly records: number;
  /** What they may weigh together, see {@linkcode RECORD_OVERHEAD}. */
  readonly bytes: number;
  /** Records of one owner; of the bytes it may have the same share. */
  readonly recordsPerOwner: number;
  /** Milliseconds that a record lives unless it is put again. */
  readonly ttl: number;
}

/** Where a peer says that it can be reached. */
export interface Announcement {
  /** Empty when the peer gave none. */
  readonly peerId: string;
  readonly addresses: readonly string[];
}

/** What is known about a topic: the newest payload, and who announced itself, newest first. */
export interface TopicRecords {
  readonly payload: Uint8Array | undefined;
  readonly peers: readonly Announcement[];
}

/** A topic's records in one store, with milliseconds since each was put; newest first. */
export interface DatedRecords {
  readonly payload: { readonly age: number; readonly content: Uint8Array } | undefined;
  readonly peers: readonly { readonly age: number; readonly content: Announcement }[];
}

/** What several stores together know of a topic: of a peer that announced itself to two, the newer. */
export function mergeRecords(parts: readonly DatedRecords[]): TopicRecords {
  const byAge = (one: { age: number }, other: { age: number }) => one.age - other.age;
  const payloads = parts.flatMap(({ payload }) => payload ?? []).sort(byAge);
  const peers = new Map<string, Announcement>();
  for (const { content } of parts.flatMap(({ peers }) => peers).sort(byAge)) {
    const key = keyOf(content);
    if (!peers.has(key) && peers.size < ANNOUNCEMENTS_PER_TOPIC) peers.set(key, content);
  }
  return { payload: payloads[0]?.content, peers: [...peers.values()] };
}

/** What tells announcements apart: a peer without a name is known by what it says. */
function keyOf({ peerId, addresses }: Announcement): string {
  return peerId === "" ? `a${JSON.stringify(addresses)}` : `p${peerId}`;
}

/** What a record costs beside its content: about what the maps that find it take. */
export const RECORD_OVERHEAD = 256;
const ANNOUNCEMENTS_PER_TOPIC = 64;
const NOTHING: DatedRecords = { payload: undefined, peers: [] };

interface Entry {
  readonly topic: string;
  /** Within its topic: empty for the payload, else what tells announcements apart. */
  readonly key: string;
  readonly owner: string;
  readonly cost: number;
  readonly expires: number;
  readonly content: Uint8Array | Announcement;
}

interface Share {
  /** Oldest first. */
  readonly entries: Set<Entry>;
  bytes: number;
}

/**
 * Short-lived records by topic, in memory only. An owner that goes beyond its share pushes out its
 * own oldest record, never another's; a store that is full refuses what is new. `now` is monotonic
 * milliseconds.
 */
export class RecordStore {
  readonly #limits: RecordLimits;
  readonly #topics = new Map<string, Map<string, Entry>>();
  /** Oldest first, which is also the order in which they expire. */
  readonly #entries = new Set<Entry>();
  readonly #shares = new Map<string, Share>();
  #bytes = 0;

  constructor(limits: RecordLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps `payload`, which must not change, as the topic's newest. Returns whether it is kept. */
  publish(owner: string, topic: string, payload: Uint8Array, now: number): boolean {
    return this.#put({ owner, topic, key: "", content: payload }, payload.length, now);
  }

  /** Keeps an announcement in place of the peer's earlier one. Returns whether it is kept. */
  announce(owner: string, topic: string, announcement: Announcement, now: number): boolean {
    const key = keyOf(announcement);
    const characters = announcement.addresses.reduce(
      (sum, address) => sum + address.length + 16,
      key.length,
    );
    const kept = this.#put({ owner, topic, key, content: announcement }, 2 * characters, now);
    if (kept) this.#trim(topic);
    return kept;
  }

  find(topic: string, now: number): TopicRecords {
    return mergeRecords([this.dated(topic, now)]);
  }

  dated(topic: string, now: number): DatedRecords {
    this.expire(now);
    const entries = this.#topics.get(topic);
    if (!entries) return NOTHING;
    let payload: DatedRecords["payload"];
    const peers: DatedRecords["peers"][number][] = [];
    for (const { content, expires } of entries.values()) {
      const age = now - (expires - this.#limits.ttl);
      if (content instanceof Uint8Array) payload = { age, content };
      else peers.push({ age, content });
    }
    return { payload, peers: peers.reverse() };
  }

  /** Forgets what has lived its time. */
  expire(now: number): void {
    for (const entry of this.#entries) {
      if (entry.expires > now) return;
      this.#remove(entry);
    }
  }

  #put(
    record: Pick<Entry, "topic" | "key" | "owner" | "content">,
    length: number,
    now: number,
  ): boolean {
    this.expire(now);
    const { topic, key, owner } = record;
    const { records, bytes, recordsPerOwner, ttl } = this.#limits;
    const bytesPerOwner = bytes * Math.min(1, recordsPerOwner / records);
    const cost = length + 2 * topic.length + RECORD_OVERHEAD;
    if (cost > bytesPerOwner) return false;
    const former = this.#topics.get(topic)?.get(key);
    // What the owner's own oldest records leave is its to use; nobody else's room is.
    let share = this.#shares.get(owner);
    const freed = { entries: 0, bytes: 0 };
    const doomed: Entry[] = former ? [former] : [];
    if (former?.owner === owner) {
      freed.entries++;
      freed.bytes += former.cost;
    }
    for (const entry of share?.entries ?? []) {
      const fits = (share?.entries.size ?? 0) - freed.entries < recordsPerOwner &&
        (share?.bytes ?? 0) - freed.bytes + cost <= bytesPerOwner;
      if (fits) break;
      if (entry === former) continue;
      doomed.push(entry);
      freed.entries++;
      freed.bytes += entry.cost;
    }
    const going = doomed.reduce((sum, entry) => sum + entry.cost, 0);
    if (this.#entries.size - doomed.length >= records) return false;
    if (this.#bytes - going + cost > bytes) return false;
    for (const entry of doomed) this.#remove(entry);
    const entry: Entry = { ...record, cost, expires: now + ttl };
    const entries = this.#topics.get(topic) ?? new Map<string, Entry>();
    this.#topics.set(topic, entries.set(key, entry));
    this.#entries.add(entry);
    this.#bytes += cost;
    share = this.#shares.get(owner) ?? { entries: new Set(), bytes: 0 };
    share.entries.add(entry);
    share.bytes += cost;
    this.#shares.set(owner, share);
    return true;
  }

  #trim(topic: string): void {
    const entries = this.#topics.get(topic);
    const most = ANNOUNCEMENTS_PER_TOPIC + (entries?.has("") ? 1 : 0);
    if (!entries || entries.size <= most) return;
    for (const entry of entries.values()) {
      if (entry.key === "") continue;
      return this.#remove(entry);
    }
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    this.#bytes -= entry.cost;
    const entries = this.#topics.get(entry.topic);
    entries?.delete(entry.key);
    if (entries?.size === 0) this.#topics.delete(entry.topic);
    const share = this.#shares.get(entry.owner);
    if (!share) return;
    share.entries.delete(entry);
    share.bytes -= entry.cost;
    if (share.entries.size === 0) this.#shares.delete(entry.owner);
  }
}
