import { utf8 } from "../../../base/bytes.ts";
import type { HeardEvent, ServerEvents } from "../server_events.ts";
import { Refusal } from "./problem.ts";

const MAX_LISTENERS = 32;
/** What may wait for a slow listener; then it is dropped. */
const MAX_BUFFERED = 64 * 1024;
/** What a listener that comes back is told of what it missed; half of what may wait for it. */
const MAX_BACKLOG = 32 * 1024;
const HEARTBEAT = 15_000;

/** Hands events to listeners over HTTP (the text/event-stream format of the HTML standard). */
export class EventStreams {
  readonly #events: ServerEvents;
  readonly #listeners = new Set<Listener>();
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #dropped = 0;

  constructor(events: ServerEvents) {
    this.#events = events;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** How many were too slow. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * A stream of what happens, from behind the event `after` on if that is given and still known.
   * `hangUp` ends the connection of a listener that does not read.
   *
   * @throws {Refusal} 503 when there are enough listeners.
   */
  open(
    after: string | undefined,
    hangUp: () => void = () => {},
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.#listeners.size >= MAX_LISTENERS) {
      throw new Refusal(503, "too-many-listeners", `There are ${MAX_LISTENERS} listeners already`);
    }
    const missed = after === undefined ? "" : this.#backlog(after);
    let listener: Listener | undefined;
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        const unsubscribe = this.#events.subscribe((event) => this.#send(opened, write(event)));
        const opened = listener = { controller, unsubscribe, hangUp };
        this.#listeners.add(opened);
        this.#heartbeat ??= setInterval(() => {
          for (const listener of [...this.#listeners]) this.#send(listener, ":\n\n");
        }, HEARTBEAT);
        // An event without an id leaves the last one as it is.
        const gap = "event: missed\ndata: {}\n\n";
        this.#send(opened, `retry: 2000\n\n${missed ?? gap}`);
      },
      cancel: () => {
        if (listener) this.#forget(listener);
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: MAX_BUFFERED }));
  }

  /** Ends all streams. */
  close(): void {
    for (const listener of [...this.#listeners]) {
      this.#forget(listener);
      listener.controller.close();
    }
  }

  /** What came after an event; `undefined` when that is no longer known, or too much at once. */
  #backlog(after: string): string | undefined {
    const text = this.#events.since(after)?.map(write).join("");
    return text === undefined || utf8(text).length > MAX_BACKLOG ? undefined : text;
  }

  #send(listener: Listener, text: string): void {
    const bytes = utf8(text);
    if ((listener.controller.desiredSize ?? 0) >= bytes.length) {
      return listener.controller.enqueue(bytes);
    }
    this.#dropped++;
    this.#forget(listener);
    listener.controller.close();
    listener.hangUp();
  }

  #forget(listener: Listener): void {
    listener.unsubscribe();
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}

interface Listener {
  readonly controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  readonly unsubscribe: () => void;
  readonly hangUp: () => void;
}

function write({ id, type, data }: HeardEvent): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${
    JSON.stringify(data)
  }\n\n`;
}
