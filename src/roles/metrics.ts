/** Numbers for Prometheus, in its text format 0.0.4. */

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const NAME = /^[a-z_][a-z0-9_]*$/;

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** What follows the name, and the value. */
  readonly samples: () => Iterable<readonly [suffix: string, value: number]>;
}

/** A number that only grows; with a label, one for each of its values. */
export interface Counter {
  /** Adds `by`, for the given value of the label. */
  add(labelValue?: string, by?: number): void;
}

/** How often a measured value was how large. */
export interface Histogram {
  observe(value: number): void;
}

/** The metrics of one process. Label values come from the program, never from a client. */
export class MetricsRegistry {
  readonly #metrics = new Map<string, Metric>();

  /** `label` names the one label, `values` those that are shown from the start. */
  counter(name: string, help: string, label?: string, values: readonly string[] = []): Counter {
    const counts = new Map<string, number>(
      (label === undefined ? [""] : values).map((value) => [value, 0]),
    );
    this.#register({
      name,
      help,
      type: "counter",
      *samples() {
        for (const [value, count] of counts) {
          yield [label === undefined ? "" : labelled(label, value), count];
        }
      },
    });
    return {
      add: (labelValue = "", by = 1) => {
        counts.set(labelValue, (counts.get(labelValue) ?? 0) + by);
      },
    };
  }

  /** `read` is asked each time; `undefined` leaves the value out. */
  gauge(name: string, help: string, read: () => number | undefined): void {
    this.#register({
      name,
      help,
      type: "gauge",
      *samples() {
        const value = read();
        if (value !== undefined) yield ["", value];
      },
    });
  }

  /**
   * Numbers that are kept elsewhere; `read` yields one for each value of `label`, or for "" one
   * without label.
   */
  readings(
    name: string,
    help: string,
    type: "counter" | "gauge",
    label: string,
    read: () => Iterable<readonly [labelValue: string, value: number]>,
  ): void {
    this.#register({
      name,
      help,
      type,
      *samples() {
        for (const [value, number] of read()) {
          yield [label === "" ? "" : labelled(label, value), number];
        }
      },
    });
  }

  /** Counts values by the bounds that they do not exceed; `bounds` ascend. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const counts = new Array<number>(bounds.length).fill(0);
    let count = 0;
    let sum = 0;
    this.#register({
      name,
      help,
      type: "histogram",
      *samples() {
        let upTo = 0;
        for (const [index, bound] of bounds.entries()) {
          upTo += counts[index] ?? 0;
          yield [`_bucket${labelled("le", String(bound))}`, upTo];
        }
        yield [`_bucket${labelled("le", "+Inf")}`, count];
        yield ["_sum", sum];
        yield ["_count", count];
      },
    });
    return {
      observe(value) {
        const index = bounds.findIndex((bound) => value <= bound);
        if (index >= 0) counts[index] = (counts[index] ?? 0) + 1;
        count++;
        sum += value;
      },
    };
  }

  /** What a scrape gets; what has no value is declared all the same. */
  text(): string {
    let text = "";
    for (const { name, help, type, samples } of this.#metrics.values()) {
      const lines = [...samples()].map(([suffix, value]) => `${name}${suffix} ${value}\n`);
      text += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    }
    return text;
  }

  #register(metric: Metric): void {
    if (!NAME.test(metric.name)) throw new TypeError(`Not a name of a metric: ${metric.name}`);
    if (this.#metrics.has(metric.name)) throw new TypeError(`Two metrics named ${metric.name}`);
    this.#metrics.set(metric.name, metric);
  }
}

function labelled(label: string, value: string): string {
  return `{${label}="${escapeLabel(value)}"}`;
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}

const LAG_INTERVAL = 500;

/** Measures by how much timers come late, which is how long the event loop was blocked. */
export class EventLoopLag {
  readonly #timer: ReturnType<typeof setInterval>;
  #worst = 0;

  /** `monotonic` tells milliseconds. */
  constructor(monotonic: () => number) {
    let due = monotonic() + LAG_INTERVAL;
    this.#timer = setInterval(() => {
      const now = monotonic();
      this.#worst = Math.max(this.#worst, now - due);
      due = now + LAG_INTERVAL;
    }, LAG_INTERVAL);
  }

  /** The worst lag in seconds since the last call. */
  takeWorst(): number {
    const worst = this.#worst;
    this.#worst = 0;
    return worst / 1000;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
