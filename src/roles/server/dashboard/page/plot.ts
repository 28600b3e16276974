/// <reference lib="dom" />
import type { HistorySample } from "./answers.ts";
import { element, setText } from "./elements.ts";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 80;

/** What a plot shows. */
export interface Measure {
  readonly title: string;
  /** Of a sample that stands for so many seconds. */
  value(sample: HistorySample, stepSecs: number): number;
  /** A value in words. */
  text(value: number): string;
  /** The top of a scale for values up to this. */
  top(highest: number): number;
}

/** The samples that a plot shows, and the span of time: Unix seconds. */
export interface PlotSpan {
  readonly samples: readonly HistorySample[];
  readonly stepSecs: number;
  readonly from: number;
  readonly to: number;
  /** As in `the last hour` and `an hour ago`. */
  readonly name: string;
  readonly begin: string;
}

/** One measure over time, as a small picture with a sentence that says the same. */
export class Plot {
  readonly node: HTMLElement;
  readonly #measure: Measure;
  readonly #latest = element("strong");
  readonly #top = element("span");
  readonly #begin = element("span");
  readonly #picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  readonly #area = svg("path", { class: "area" });
  readonly #line = svg("path", { class: "line" });

  constructor(measure: Measure) {
    this.#measure = measure;
    for (const y of [1, HEIGHT / 2, HEIGHT - 1]) {
      this.#picture.append(svg("path", { class: "grid", d: `M0 ${y}H${WIDTH}` }));
    }
    this.#picture.append(this.#area, this.#line);
    this.node = element(
      "figure",
      {},
      element("figcaption", {}, element("span", {}, measure.title), this.#latest),
      element("div", { class: "scale", "aria-hidden": "true" }, this.#top),
      this.#picture,
      element(
        "div",
        { class: "scale", "aria-hidden": "true" },
        this.#begin,
        element("span", {}, "now"),
      ),
    );
  }

  show(span: PlotSpan): void {
    const { samples, stepSecs, name, begin } = span;
    const values = samples.map((sample) => this.#measure.value(sample, stepSecs));
    const highest = values.reduce((a, b) => Math.max(a, b), 0);
    const top = this.#measure.top(highest);
    const latest = values.at(-1);
    const { text, title } = this.#measure;
    setText(this.#latest, latest === undefined ? "no sample yet" : text(latest));
    setText(this.#top, text(top));
    setText(this.#begin, begin);
    const summary = latest === undefined
      ? `${title}: no sample yet`
      : `${title} over ${name}: ${text(latest)} now, ${text(highest)} at most`;
    this.#picture.setAttribute("aria-label", summary);
    const runs = unbroken(span).map((run) => {
      return run.map((index) => {
        const x = ((samples[index]?.at ?? 0) - span.from) / (span.to - span.from) * WIDTH;
        const y = HEIGHT - 1 - (values[index] ?? 0) / top * (HEIGHT - 2);
        return [Math.max(0, Math.min(WIDTH, x)).toFixed(1), y.toFixed(1)] as const;
      });
    });
    this.#line.setAttribute("d", runs.map((run) => `M${joined(run)}`).join(""));
    this.#area.setAttribute(
      "d",
      runs.map((run) => {
        return `M${run[0]?.[0]} ${HEIGHT}L${joined(run)}L${run.at(-1)?.[0]} ${HEIGHT}Z`;
      }).join(""),
    );
  }
}

/** The samples by their place, parted where the server did not run or the page heard nothing. */
function unbroken({ samples, stepSecs }: PlotSpan): number[][] {
  const runs: number[][] = [];
  for (const [index, { at }] of samples.entries()) {
    const before = samples[index - 1];
    const run = before !== undefined && at - before.at < stepSecs * 3 ? runs.at(-1) : undefined;
    if (run) run.push(index);
    else runs.push([index]);
  }
  return runs;
}

function joined(run: readonly (readonly [x: string, y: string])[]): string {
  return run.map(([x, y]) => `${x} ${y}`).join("L");
}

/** The next power of two, as bytes are counted. */
export function topOfBytes(highest: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(highest, 1024)));
}

/** The next of 4, 10, 20, 40, 100, …: half of it is a whole number. */
export function topOfCounts(highest: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(highest, 1)));
  return [1, 2, 4, 10].map((step) => step * power).find((top) => top >= Math.max(highest, 4)) ??
    10 * power;
}

function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[Tag] {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
