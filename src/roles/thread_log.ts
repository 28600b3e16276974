/** The log of a program with several threads, which its first one writes. */

import { configureSync, getLogger, type LogLevel, type LogRecord } from "@logtape/logtape";

const LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warning", "error", "fatal"];

/** A record on its way to the first thread. */
export interface ThreadRecord {
  readonly category: readonly string[];
  readonly level: LogLevel;
  readonly message: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** The log takes nothing below for this role; `undefined` when it takes nothing. */
export function lowestLevel(role: "signal" | "relay"): LogLevel | undefined {
  const log = getLogger(["cairn", role]);
  return LEVELS.find((level) => log.isEnabledFor(level));
}

/** Lets the records of this thread go to `say`. */
export function forwardLog(
  level: LogLevel | undefined,
  say: (record: ThreadRecord) => void,
): void {
  if (level === undefined) return;
  const sink = ({ category, level, rawMessage, properties }: LogRecord) => {
    const message = typeof rawMessage === "string" ? rawMessage : rawMessage.join("");
    say({ category, level, message, properties });
  };
  configureSync({
    sinks: { sink },
    loggers: [
      { category: ["cairn"], lowestLevel: level, sinks: ["sink"] },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
}

/** Writes a record of another thread. */
export function writeRecord({ category, level, message, properties }: ThreadRecord): void {
  const logger = getLogger([...category]);
  switch (level) {
    case "trace":
      return logger.trace(message, properties);
    case "debug":
      return logger.debug(message, properties);
    case "info":
      return logger.info(message, properties);
    case "warning":
      return logger.warn(message, properties);
    case "error":
      return logger.error(message, properties);
    case "fatal":
      return logger.fatal(message, properties);
  }
}
