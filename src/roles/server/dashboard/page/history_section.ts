/// <reference lib="dom" />
import type { History, HistorySample } from "./answers.ts";
import { byId, element } from "./elements.ts";
import { type Measure, Plot } from "./plot.ts";
import type { Session } from "./session.ts";
import { bytesText, clockText, countText, dayText } from "./wording.ts";

type Range = "hour" | "week";

const LENGTHS: Readonly<Record<Range, number>> = { hour: 3_600, week: 604_800 };
const TABLE_ROWS = 12;

const MEASURES: readonly (Measure & { readonly column: string })[] = [
  {
    title: "Stored",
    column: "Stored",
    value: ({ stored_bytes: bytes }) => bytes,
    text: bytesText,
    least: 1024,
  },
  {
    title: "Waiting messages",
    column: "Waiting",
    value: ({ waiting_messages: count }) => count,
    text: countText,
    least: 4,
  },
  {
    title: "Relayed",
    column: "Relayed",
    value: ({ relayed_bytes: bytes }, stepSecs) => bytes / stepSecs,
    text: (value) => `${bytesText(value)}/s`,
    least: 1024,
  },
  {
    title: "Peers online",
    column: "Online",
    value: ({ connected_peers: count }) => count,
    text: countText,
    least: 4,
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

  /** Forgets what is known, as after a restart of the server. */
  clear(): void {
    this.#samples.clear();
  }

  #choose(range: Range): void {
    this.#range = range;
    this.clear();
    for (const name of ["hour", "week"]) {
      byId(`range-${name}`, HTMLElement).setAttribute("aria-pressed", String(name === range));
    }
    // When contact is lost, everything is asked for as soon as it is back.
    this.load().catch(() => {});
  }

  #show(): void {
    const to = [...this.#samples.keys()].at(-1) ?? Date.now() / 1000;
    const from = to - LENGTHS[this.#range];
    for (const at of [...this.#samples.keys()]) if (at < from) this.#samples.delete(at);
    const samples = [...this.#samples.values()];
    const span = { samples, stepSecs: this.#stepSecs, from, to, name: `the last ${this.#range}` };
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
