const FREE = 0;
const TAKEN = 1;
/** Taken, and somebody waits for it. */
const AWAITED = 2;

/** Lets one thread at a time do what must not be done by two. It is held for microseconds only. */
export class ThreadLock {
  readonly #word: Int32Array;

  /** `word` is one integer, 0 at first, that all threads share. */
  constructor(word: Int32Array) {
    this.#word = word;
  }

  hold<T>(action: () => T): T {
    const word = this.#word;
    if (Atomics.compareExchange(word, 0, FREE, TAKEN) !== FREE) {
      while (Atomics.exchange(word, 0, AWAITED) !== FREE) Atomics.wait(word, 0, AWAITED);
    }
    try {
      return action();
    } finally {
      if (Atomics.exchange(word, 0, FREE) === AWAITED) Atomics.notify(word, 0, 1);
    }
  }
}
