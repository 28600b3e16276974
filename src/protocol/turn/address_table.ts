import type { AddressWords } from "../../base/endpoint.ts";

/** What a table keeps: an entry that knows its own address. */
export interface Addressed {
  readonly endpoint: AddressWords;
}

const FIRST_CAPACITY = 8;

/**
 * Entries by address, or by address and port, of one family. Finding one costs no allocation: a
 * `Map` would need a key made for each packet.
 */
export class AddressTable<Entry extends Addressed> {
  readonly #withPort: boolean;
  /** Open addressing with linear probing, at most half full. */
  #slots: (Entry | undefined)[] = new Array(FIRST_CAPACITY).fill(undefined);
  #size = 0;

  constructor(by: "address" | "address and port") {
    this.#withPort = by === "address and port";
  }

  get size(): number {
    return this.#size;
  }

  find(address: AddressWords): Entry | undefined {
    return this.#slots[this.#slotOf(address)];
  }

  /** Adds an entry, in place of one with the same address. */
  set(entry: Entry): void {
    const slot = this.#slotOf(entry.endpoint);
    const isNew = this.#slots[slot] === undefined;
    this.#slots[slot] = entry;
    if (isNew && ++this.#size * 2 > this.#slots.length) {
      this.#rebuild(this.entries(), this.#slots.length * 2);
    }
  }

  /** Removes every entry that `keeps` does not want. */
  retain(keeps: (entry: Entry) => boolean): void {
    const kept = this.entries().filter(keeps);
    if (kept.length < this.#size) this.#rebuild(kept, FIRST_CAPACITY);
  }

  entries(): Entry[] {
    return this.#slots.filter((entry) => entry !== undefined);
  }

  #rebuild(entries: readonly Entry[], capacity: number): void {
    while (entries.length * 2 > capacity) capacity *= 2;
    this.#slots = new Array(capacity).fill(undefined);
    this.#size = entries.length;
    for (const entry of entries) this.#slots[this.#slotOf(entry.endpoint)] = entry;
  }

  /** Where the entry of this address is, or would be put. */
  #slotOf(address: AddressWords): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#hash(address) & mask;
    for (let entry = slots[slot]; entry !== undefined; entry = slots[slot]) {
      if (this.#matches(entry.endpoint, address)) break;
      slot = slot + 1 & mask;
    }
    return slot;
  }

  #hash({ w0, w1, w2, w3, port }: AddressWords): number {
    let hash = Math.imul(this.#withPort ? port : 0, 0x9e3779b1);
    hash = Math.imul(hash ^ hash >>> 15 ^ w0, 0x85ebca77);
    hash = Math.imul(hash ^ hash >>> 13 ^ w1, 0xc2b2ae3d);
    hash = Math.imul(hash ^ hash >>> 15 ^ w2, 0x27d4eb2f);
    hash = Math.imul(hash ^ hash >>> 13 ^ w3, 0x165667b1);
    return hash ^ hash >>> 15;
  }

  #matches(a: AddressWords, b: AddressWords): boolean {
    return a.w3 === b.w3 && a.w0 === b.w0 && a.w1 === b.w1 && a.w2 === b.w2 &&
      (!this.#withPort || a.port === b.port);
  }
}
