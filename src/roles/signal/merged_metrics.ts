/** Of these the lowest, of those the highest of all threads tells something; of others the sum. */
const LOWEST = /_(timestamp_seconds|connected)$/;
const HIGHEST = /_lag_seconds$/;

/** One page of metrics from those of several threads, which all have the same names. */
export function mergeMetrics(texts: readonly string[]): string {
  const values = new Map<string, number>();
  const lines: string[] = [];
  // A thread may not have told anything yet.
  for (const [index, text] of texts.filter((text) => text !== "").entries()) {
    for (const line of text.split("\n")) {
      if (line === "" || line.startsWith("#")) {
        if (index === 0 && line !== "") lines.push(line);
        continue;
      }
      const end = line.lastIndexOf(" ");
      const sample = line.slice(0, end);
      const value = Number(line.slice(end + 1));
      const former = values.get(sample);
      if (former === undefined) lines.push(sample);
      values.set(sample, former === undefined ? value : merge(sample, former, value));
    }
  }
  return lines.map((line) => values.has(line) ? `${line} ${values.get(line)}\n` : `${line}\n`)
    .join("");
}

function merge(sample: string, one: number, other: number): number {
  const [name = ""] = sample.split("{");
  if (LOWEST.test(name)) return Math.min(one, other);
  return HIGHEST.test(name) ? Math.max(one, other) : one + other;
}
