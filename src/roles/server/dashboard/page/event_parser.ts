/** An event as the server sends it. */
export interface StreamedEvent {
  /** Of an event that can be resumed from. */
  readonly id?: string;
  readonly type: string;
  readonly data: EventData;
}

export type EventData = Readonly<Record<string, string | number | boolean | null>>;

/** Reads the text/event-stream format (HTML standard, section 9.2) as this server writes it. */
export class EventParser {
  #text = "";

  /** The events that `text` completes. */
  take(text: string): StreamedEvent[] {
    const blocks = (this.#text + text).split("\n\n");
    this.#text = blocks.pop() ?? "";
    return blocks.flatMap((block) => {
      const fields = new Map(
        block.split("\n").map((line) => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
        }),
      );
      const [type, data, id] = [fields.get("event"), fields.get("data"), fields.get("id")];
      if (type === undefined || data === undefined) return [];
      return [{ type, data: JSON.parse(data), ...(id !== undefined && { id }) }];
    });
  }
}
