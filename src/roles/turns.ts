/** Lets steps of one name run one after another; those of different names do not wait. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `step` after every earlier one of the same name has ended, however it did. */
  take<T>(name: string, step: () => Promise<T>): Promise<T> {
    const run = (this.#last.get(name) ?? Promise.resolve()).then(step, step);
    const tail = run.catch(() => {}).finally(() => {
      if (this.#last.get(name) === tail) this.#last.delete(name);
    });
    this.#last.set(name, tail);
    return run;
  }
}
