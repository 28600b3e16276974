/// <reference lib="dom" />
import type { History, HistorySample } from "./answers.ts";
import { byId, element } from "./elements.ts";
import { type Measure, Plot, topOfBytes, topOfCounts } from "./plot.ts";
import type { Session } from "./session.ts";
import { bytesText, clockText, countText, dayText } from "./wording.ts";

type Range = "hour" | "week";

const SPANS = {
  hour: { seconds: 3_600, name: "the last hour", begin: "an hour ago" },
  week: { seconds: 604_800, name: "the last week", begin: "a week ago" },
} as const;
const TABLE_ROWS = 12;

const MEASURES: readonly (Measure & { readonly column: string })[] = [
  {
    title: "Stored",
    column: "Stored",
    value: ({ stored_bytes: bytes }) => bytes,
    text: bytesText,
    top: topOfBytes,
  },
  {
    title: "Waiting messages",
    column: "Waiting",
    value: ({ waiting_messages: count }) => count,
    text: countText,
    top: topOfCounts,
  },
  {
    title: "Relayed",
    column: "Relayed",
    value: ({ relayed_bytes: bytes }, stepSecs) => bytes / stepSecs,
    text: (value) => `${bytesText(value)}/s`,
    top: topOfBytes,
  },
  {
    title: "Peers online",
    column: "Online",
    value: ({ connected_peers: count }) => count,
    text: countText,
    top: topOfCounts,
  },
];

/** How the server fared in the last hour or week. */
export class HistorySection {
  readonly #session: Session;
  readonly #plots = MEASURES.map((measure) => new Plot(measure));
  readonly #table = byId("history-table", HTMLTableElement);
  #range: Range = "hour";
  #samples = new Map<number, HistorySample>();
  #stepSecs = 10;

  constructor(session: Session) {
    this.#session = session;
    byId("plots", HTMLElement).replaceChildren(...this.#plots.map(({ node }) => node));
    for (const range of ["hour", "week"] as const) {
      byId(`range-${range}`, HTMLButtonElement).onclick = () => this.#choose(range);
    }
  }

  /** The latest, and the seconds that it stands for. */
  get latest(): readonly [HistorySample, number] | undefined {
    const sample = [...this.#samples.values()].at(-1);
    return sample && [sample, this.#stepSecs];
  }

  /** Asks for what has come since it was last asked. @throws {Refused} */
  async load(): Promise<void> {
    const range = this.#range;
    const last = [...this.#samples.keys()].at(-1);
    // The last step again: it may not have been over.
    const after = last === undefined ? "" : `&after=${Math.max(0, last - 1)}`;
    const answer = await this.#session.ask<History>(`history?range=${range}${after}`);
    if (range !== this.#range) return;
    this.#stepSecs = answer.step_secs;
    for (const sample of answer.samples) this.#samples.set(sample.at, sample);
    this.#show();
  }

  #choose(range: Range): void {
    this.#range = range;
    this.#samples.clear();
    for (const name of ["hour", "week"]) {
      byId(`range-${name}`, HTMLElement).setAttribute("aria-pressed", String(name === range));
    }
    // When contact is lost, everything is asked for as soon as it is back.
    this.load().catch(() => {});
  }

  #show(): void {
    const to = [...this.#samples.keys()].at(-1) ?? Date.now() / 1000;
    const { seconds, ...words } = SPANS[this.#range];
    const from = to - seconds;
    for (const at of [...this.#samples.keys()]) if (at < from) this.#samples.delete(at);
    const samples = [...this.#samples.values()];
    const span = { samples, stepSecs: this.#stepSecs, from, to, ...words };
    for (const plot of this.#plots) plot.show(span);
    this.#fillTable(samples);
  }

  #fillTable(samples: readonly HistorySample[]): void {
    const every = Math.max(1, Math.ceil(samples.length / TABLE_ROWS));
    const rows = samples.filter((_, index) => (samples.length - 1 - index) % every === 0);
    const time = this.#range === "hour" ? clockText : timeOfWeek;
    const head = ["Time", ...MEASURES.map(({ column }) => column)];
    this.#table.replaceChildren(
      element("thead", {}, row(head.map((text) => element("th", { scope: "col" }, text)))),
      element(
        "tbody",
        {},
        ...rows.toReversed().map((sample) =>
          row([
            element("th", { scope: "row" }, time(sample.at)),
            ...MEASURES.map(({ value, text }) => {
              return element("td", {}, text(value(sample, this.#stepSecs)));
            }),
          ])
        ),
      ),
    );
  }
}

function row(cells: readonly HTMLElement[]): HTMLElement {
  return element("tr", {}, ...cells);
}

function timeOfWeek(at: number): string {
  return `${dayText(at)} ${clockText(at)}`;
}
