/** What can be waited for; its place in the queue belongs to {@linkcode Deadlines}. */
export interface Timed {
  /** Monotonic milliseconds. */
  expiresAt: number;
  /** -1 while it is not in the queue. */
  place: number;
}

/** Items by their time, the earliest first: a binary heap that knows where each item is. */
export class Deadlines<Item extends Timed> {
  readonly #heap: Item[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest time, or `Infinity`. */
  next(): number {
    return this.#heap[0]?.expiresAt ?? Infinity;
  }

  /** Puts an item in, or moves it to another time. */
  schedule(item: Item, expiresAt: number): void {
    item.expiresAt = expiresAt;
    if (item.place < 0) this.#put(item, this.#heap.length);
    this.#rise(item);
    this.#sink(item);
  }

  cancel(item: Item): void {
    if (item.place < 0) return;
    const last = this.#heap.pop();
    if (last !== undefined && last !== item) {
      this.#put(last, item.place);
      this.#rise(last);
      this.#sink(last);
    }
    item.place = -1;
  }

  /** Takes out an item whose time has come. */
  takeDue(now: number): Item | undefined {
    const item = this.#heap[0];
    if (item === undefined || item.expiresAt > now) return undefined;
    this.cancel(item);
    return item;
  }

  #put(item: Item, place: number): void {
    this.#heap[place] = item;
    item.place = place;
  }

  #rise(item: Item): void {
    for (;;) {
      const place = item.place;
      const parent = this.#heap[place - 1 >> 1];
      if (place === 0 || parent === undefined || parent.expiresAt <= item.expiresAt) return;
      this.#put(item, parent.place);
      this.#put(parent, place);
    }
  }

  #sink(item: Item): void {
    for (;;) {
      const place = item.place;
      const left = this.#heap[2 * place + 1];
      const right = this.#heap[2 * place + 2];
      const child = left && right && right.expiresAt < left.expiresAt ? right : left;
      if (child === undefined || child.expiresAt >= item.expiresAt) return;
      this.#put(item, child.place);
      this.#put(child, place);
    }
  }
}
