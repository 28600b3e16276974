/** The program's log: standard error, pretty for people and JSON lines for programs. */

import {
  configureSync,
  getJsonLinesFormatter,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { getPrettyFormatter } from "@logtape/pretty";
import type { LogDirective, LogFilterLevel } from "../base/log_filter.ts";
import { escapeControls, writeToStandardError } from "./standard_output.ts";

export type LogFormat = "pretty" | "json";

const LEVELS: Readonly<Record<LogFilterLevel, LogLevel | null>> = {
  off: null,
  error: "error",
  warn: "warning",
  info: "info",
  debug: "debug",
  trace: "trace",
};

/** Sends what `directives` let through to standard error, from now on. */
export function startLogging(
  directives: readonly LogDirective[],
  format: LogFormat = Deno.stderr.isTerminal() ? "pretty" : "json",
  write: (text: string) => void = writeToStandardError,
): void {
  const formatted = formatterOf(format);
  configureSync({
    reset: true,
    sinks: { standardError: (record: LogRecord) => write(formatted(record)) },
    loggers: [
      // Inherited sinks would pass a child's records through its parent's level once more.
      ...directives.map(({ target, level }) => ({
        category: [...target],
        lowestLevel: LEVELS[level],
        sinks: ["standardError"],
        parentSinks: "override" as const,
      })),
      {
        category: ["logtape", "meta"],
        lowestLevel: "warning" as const,
        sinks: ["standardError"],
        parentSinks: "override" as const,
      },
    ],
  });
}

function formatterOf(format: LogFormat): (record: LogRecord) => string {
  if (format === "json") {
    const json = getJsonLinesFormatter({ categorySeparator: "::" });
    return (record) => json({ ...record, message: [messageOf(record)] });
  }
  const pretty = getPrettyFormatter({
    colors: Deno.stderr.isTerminal() && !Deno.noColor,
    icons: false,
    timestamp: "rfc3339",
    categorySeparator: "::",
    align: false,
    wordWrap: false,
    properties: true,
  });
  return (record) =>
    pretty({
      ...record,
      message: [escapeControls(messageOf(record))],
      properties: unmentionedProperties(record),
    });
}

/** The message with its values in place; LogTape's own formatters put strings in quotes. */
function messageOf(record: LogRecord): string {
  const parts = record.message.map((part) => {
    if (typeof part === "string") return part;
    return part instanceof Error ? part.message : Deno.inspect(part, { breakLength: Infinity });
  });
  return parts.join("");
}

function unmentionedProperties(record: LogRecord): Record<string, unknown> {
  const template = typeof record.rawMessage === "string" ? record.rawMessage : "";
  const rest = Object.entries(record.properties).filter(([name]) =>
    !template.includes(`{${name}}`)
  );
  return Object.fromEntries(rest);
}
