/// <reference lib="dom" />
import { EventParser, type StreamedEvent } from "./event_parser.ts";
import { Refused, type Session } from "./session.ts";

const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;
/** The server says something every 15 s. */
const SILENCE = 40_000;

/** What a stream tells. */
export interface StreamListener {
  onEvent(event: StreamedEvent): void;
  /** The stream is there, for the first time or again. */
  onLive(): void;
  /** It is not, and is tried again. */
  onLost(): void;
}

/** Hears of what happens at the server, and comes back by itself. */
export class EventStream {
  readonly #session: Session;
  readonly #listener: StreamListener;
  #lastId: string;
  #wake = () => {};

  /** `lastId`: the event from behind which on everything is told. */
  constructor(session: Session, listener: StreamListener, lastId: string) {
    this.#session = session;
    this.#listener = listener;
    this.#lastId = lastId;
  }

  /** Listens until the page is left, or the server does not take the token any more. */
  async start(): Promise<void> {
    addEventListener("online", () => this.#wake());
    let wait = FIRST_WAIT;
    for (;;) {
      try {
        await this.#listen(() => wait = FIRST_WAIT);
      } catch (error) {
        if (error instanceof Refused && error.status === 401) return;
      }
      this.#listener.onLost();
      // Not all pages at the same moment: the server may have just come back.
      await this.#sleep(wait * (0.75 + Math.random() / 2));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
  }

  async #listen(onOpen: () => void): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const headers = { "last-event-id": this.#lastId };
      const answer = await this.#session.open("events", { headers, signal: silence.signal });
      if (answer.body === null) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      onOpen();
      this.#listener.onLive();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE);
        for (const event of parser.take(value)) {
          this.#lastId = event.id ?? this.#lastId;
          this.#listener.onEvent(event);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
