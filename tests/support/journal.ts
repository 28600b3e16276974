/** What happened, in words and in order, and a way to wait for more. */
export class Journal {
  readonly lines: string[] = [];
  #changed = Promise.withResolvers<void>();

  add(line: string): void {
    this.lines.push(line);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Looks after each new line whether `condition` holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  /** Waits for the `count`-th line that is exactly this one. */
  untilLine(line: string, count = 1): Promise<void> {
    return this.until(() => this.lines.filter((each) => each === line).length >= count);
  }
}
