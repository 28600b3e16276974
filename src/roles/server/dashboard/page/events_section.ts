/// <reference lib="dom" />
import { byId, element } from "./elements.ts";
import type { StreamedEvent } from "./event_parser.ts";
import { eventText } from "./event_wording.ts";
import { clockText, momentText } from "./wording.ts";

const SHOWN = 100;

/** What happened lately, the latest first. */
export class EventsSection {
  readonly #list = byId("event-list", HTMLOListElement);
  readonly #nameOf: (peerId: string) => string;

  constructor(nameOf: (peerId: string) => string) {
    this.#nameOf = nameOf;
  }

  /** `at`: Unix seconds. */
  add(event: Pick<StreamedEvent, "type" | "data">, at: number): void {
    const text = eventText(event, this.#nameOf);
    if (text === undefined) return;
    const clock = clockText(at);
    const moment = momentText(at, Date.now() / 1000);
    const shown = moment === clock ? clock : `${moment}, ${clock}`;
    const time = element("time", { datetime: new Date(at * 1000).toISOString() }, shown);
    this.#list.prepend(element("li", {}, time, element("span", {}, text)));
    while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild?.remove();
    byId("no-events", HTMLElement).hidden = true;
  }

  clear(): void {
    this.#list.replaceChildren();
    byId("no-events", HTMLElement).hidden = false;
  }
}
