/** What the demo writes: a line a step, with its time. */
export class DemoScreen {
  readonly #start = performance.now();
  readonly #canErase = Deno.stdout.isTerminal() && Deno.env.get("TERM") !== "dumb";
  readonly #hasColor = Deno.stdout.isTerminal() && !Deno.noColor;
  readonly #onGone: () => void;
  #step = "starting";

  /** `onGone` is called when nobody can read the screen any more. */
  constructor(onGone: () => void) {
    this.#onGone = onGone;
  }

  /** What is being done; a terminal shows it until the next line takes its place. */
  begin(step: string): void {
    this.#step = step;
    if (this.#canErase) this.#write(this.#clock() + this.#paint("2", `${step} …`));
  }

  /** A line about what has been done. */
  done(what: string): void {
    this.line(this.#clock() + what);
  }

  /** A line about the step that went wrong. */
  fail(reason: string): void {
    this.line(`${this.#clock()}${this.#paint("1;31", `FAILED while ${this.#step}:`)} ${reason}`);
  }

  /** The last line of a demo that showed what it should. */
  success(what: string): void {
    this.line(this.#paint("1;32", what));
  }

  line(text: string): void {
    this.#write(`${this.#canErase ? "\r\x1b[K" : ""}${text}\n`);
  }

  #clock(): string {
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(2).padStart(6);
    return this.#paint("2", `${seconds} s`) + "  ";
  }

  #paint(style: string, text: string): string {
    return this.#hasColor ? `\x1b[${style}m${text}\x1b[0m` : text;
  }

  #write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let written = 0; written < bytes.length;) {
        written += Deno.stdout.writeSync(bytes.subarray(written));
      }
    } catch {
      this.#onGone();
    }
  }
}
