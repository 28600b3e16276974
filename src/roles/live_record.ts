/** A change of a {@linkcode LiveRecord}, for a commit. */
export interface RecordChange {
  readonly type: "update";
  readonly key: Deno.KvKey;
  /** What it will about be, for its weight. */
  readonly value: unknown;
  readonly record: {
    readonly key: Deno.KvKey;
    readonly staged: unknown;
    settle(): void;
    revert(): void;
  };
  stage(): void;
}

/**
 * A record that only this process writes, held in memory beside the store. Its changes say what is
 * to become of the value, whatever it is by then, so that counters stay exact when some of the
 * commits before them fail; changes that share a commit are one write.
 */
export class LiveRecord<Value> {
  readonly key: Deno.KvKey;
  #value: Value | undefined;
  #staged: { readonly value: Value | undefined } | undefined;

  /** @param value what the store holds; left out for no record. */
  constructor(key: Deno.KvKey, value?: Value) {
    this.key = key;
    this.#value = value;
  }

  /** What is durable. */
  get value(): Value | undefined {
    return this.#value;
  }

  /** What the commit under way makes of it. */
  get staged(): Value | undefined {
    return this.#staged?.value;
  }

  /** For a commit; `step` returns the next value, or `undefined` to delete the record. */
  change(step: (value: Value | undefined) => Value | undefined): RecordChange {
    return {
      type: "update",
      key: this.key,
      value: this.#value ?? step(undefined),
      record: this,
      stage: () => {
        const before = this.#staged === undefined ? this.#value : this.#staged.value;
        this.#staged = { value: step(before) };
      },
    };
  }

  /** The commit was made. */
  settle(): void {
    if (this.#staged !== undefined) this.#value = this.#staged.value;
    this.#staged = undefined;
  }

  /** The commit was not made. */
  revert(): void {
    this.#staged = undefined;
  }
}
