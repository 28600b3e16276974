import { within } from "./deadline.ts";

/** Reads server-sent events as a program that manages a server would. */
export class EventListener {
  lastId = "";
  readonly contentType: string | null;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(
    response: Response,
    body: ReadableStream<Uint8Array<ArrayBuffer>>,
    private readonly abort: AbortController,
    private readonly deadline: AbortSignal,
  ) {
    this.contentType = response.headers.get("content-type");
    this.#reader = body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** `lastId` names the last event that was seen before. */
  static async open(
    url: string,
    headers: Readonly<Record<string, string>>,
    deadline: AbortSignal,
    lastId?: string,
  ): Promise<EventListener> {
    const abort = new AbortController();
    const response = await fetch(url, {
      headers: { ...headers, ...(lastId !== undefined && { "last-event-id": lastId }) },
      signal: abort.signal,
    });
    if (response.body === null) throw new Error("There is no stream");
    return new EventListener(response, response.body, abort, deadline);
  }

  /** The next event: its type and data. */
  async next(): Promise<[type: string, data: unknown]> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end < 0) {
        const { value } = await within(this.deadline, this.#reader.read(), () => "an event");
        this.#text += value ?? "";
        if (value === undefined) throw new Error("The stream ended");
        continue;
      }
      const fields = new Map(
        this.#text.slice(0, end).split("\n").map((line) => {
          const [name = "", ...rest] = line.split(": ");
          return [name, rest.join(": ")];
        }),
      );
      this.#text = this.#text.slice(end + 2);
      this.lastId = fields.get("id") ?? this.lastId;
      const type = fields.get("event");
      if (type !== undefined) return [type, JSON.parse(fields.get("data") ?? "")];
    }
  }

  async leave(): Promise<void> {
    this.abort.abort();
    await this.#reader.cancel().catch(() => {});
  }

  /** The first event from here on of which `is` holds. */
  async until(is: (type: string, data: unknown) => boolean): Promise<unknown> {
    for (;;) {
      const [type, data] = await this.next();
      if (is(type, data)) return data;
    }
  }
}
