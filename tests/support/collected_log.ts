import { configure, type LogLevel, type LogRecord, reset } from "@logtape/logtape";

/** What cairn logs while a test runs. */
export interface CollectedLog extends AsyncDisposable {
  readonly records: readonly LogRecord[];
  /** Each record with everything that it carries, as text. */
  readonly lines: readonly string[];
}

/** Collects what cairn logs at this level and above, until it is disposed of. */
export async function collectedLog(lowestLevel: LogLevel): Promise<CollectedLog> {
  const records: LogRecord[] = [];
  await configure({
    sinks: { collected: (record) => void records.push(record) },
    loggers: [
      { category: "cairn", lowestLevel, sinks: ["collected"] },
      { category: ["logtape", "meta"], sinks: [] },
    ],
    reset: true,
  });
  return {
    records,
    get lines() {
      return records.map((record) => JSON.stringify(record));
    },
    [Symbol.asyncDispose]: () => reset(),
  };
}
