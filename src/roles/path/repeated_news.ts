/** How often news are repeated, and the milliseconds before that: twice as long each time, up to. */
const REPEATS = 8;
const FIRST_WAIT = 2_000;
const LONGEST_WAIT = 16_000;

/**
 * Says something to others, and again for a minute and a half. Signaling does not tell what arrives:
 * when an address changes, so does that of the connection to the signaling server, which swallows
 * what is written to it until one side notices.
 */
export class RepeatedNews {
  readonly #say: (isRepeat: boolean) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(say: (isRepeat: boolean) => void) {
    this.#say = say;
  }

  /** Says it, and later what it has become by then. */
  begin(): void {
    clearTimeout(this.#timer);
    this.#repeatLater(0);
    this.#say(false);
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #repeatLater(repeat: number): void {
    if (repeat === REPEATS) return;
    this.#timer = setTimeout(() => {
      this.#repeatLater(repeat + 1);
      this.#say(true);
    }, Math.min(FIRST_WAIT * 2 ** repeat, LONGEST_WAIT));
  }
}
