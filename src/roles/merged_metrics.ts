/** Of these the lowest, of those the highest of all threads tells something; of others the sum. */
const LOWEST = /_(timestamp_seconds|connected)$/;
const HIGHEST = /_lag_seconds$/;
const DECLARATION = /^# (?:HELP|TYPE) (?<name>\S+)/;

interface Metric {
  /** The lines of HELP and TYPE. */
  readonly declarations: string[];
  readonly samples: Map<string, number>;
}

/** One page of metrics from those of several threads; what is on some of them only counts too. */
export function mergeMetrics(texts: readonly string[]): string {
  const metrics = new Map<string, Metric>();
  for (const text of texts) {
    const declared = new Set(metrics.keys());
    let current: Metric | undefined;
    for (const line of text.split("\n")) {
      const name = DECLARATION.exec(line)?.groups?.["name"];
      if (name !== undefined) {
        current = metrics.get(name) ?? { declarations: [], samples: new Map() };
        metrics.set(name, current);
        if (!declared.has(name)) current.declarations.push(line);
      } else if (line !== "" && current !== undefined) {
        add(current.samples, line);
      }
    }
  }
  return [...metrics.values()].map(({ declarations, samples }) =>
    [...declarations, ...[...samples].map(([sample, value]) => `${sample} ${value}`)]
      .map((line) => `${line}\n`).join("")
  ).join("");
}

function add(samples: Map<string, number>, line: string): void {
  const end = line.lastIndexOf(" ");
  const sample = line.slice(0, end);
  const value = Number(line.slice(end + 1));
  const former = samples.get(sample);
  samples.set(sample, former === undefined ? value : merge(sample, former, value));
}

function merge(sample: string, one: number, other: number): number {
  const [name = ""] = sample.split("{");
  if (LOWEST.test(name)) return Math.min(one, other);
  return HIGHEST.test(name) ? Math.max(one, other) : one + other;
}
