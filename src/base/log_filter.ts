/**
 * The log filter of the environment variable `RUST_LOG`: directives separated by commas, each a
 * level (`info`) or a target and its level (`cairn_signal=debug`, `cairn_relay::allocations=trace`).
 */

const LEVELS = ["off", "error", "warn", "info", "debug", "trace"] as const;

/** How much a directive lets through, from nothing to everything. */
export type LogFilterLevel = typeof LEVELS[number];

/** What a filter must look like, for an error message. */
export const LOG_FILTER_EXPECTED =
  "levels (off, error, warn, info, debug, trace) and target=level, separated by commas, " +
  "as in info, cairn_signal=debug or warn,cairn_relay=trace";

/** `target` is a path of log categories (`cairn_signal` is `cairn`, `signal`); empty for all. */
export interface LogDirective {
  readonly target: readonly string[];
  readonly level: LogFilterLevel;
}

/**
 * Parses a filter; a later directive replaces an earlier one for the same target, and where none is
 * for everything, the rest shows errors. Returns `undefined` when `text` is not a filter.
 */
export function parseLogFilter(text: string): readonly LogDirective[] | undefined {
  const byTarget = new Map<string, LogDirective>([["", { target: [], level: "error" }]]);
  const directives = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (directives.length === 0) return undefined;
  for (const part of directives) {
    const directive = parseDirective(part);
    if (directive === undefined) return undefined;
    byTarget.set(directive.target.join("::"), directive);
  }
  return [...byTarget.values()];
}

function parseDirective(text: string): LogDirective | undefined {
  const equals = text.indexOf("=");
  if (equals === -1) {
    const level = parseLevel(text);
    if (level !== undefined) return { target: [], level };
    // Any other bare word would switch everything else off, which a misspelt level must not.
    const target = text.startsWith("cairn") ? parseTarget(text) : undefined;
    return target && { target, level: "trace" };
  }
  const target = parseTarget(text.slice(0, equals).trim());
  const level = parseLevel(text.slice(equals + 1).trim());
  return target && level && { target, level };
}

function parseLevel(text: string): LogFilterLevel | undefined {
  const word = text.toLowerCase();
  return LEVELS.find((level) => level === (word === "warning" ? "warn" : word));
}

function parseTarget(text: string): readonly string[] | undefined {
  if (!/^[a-z][a-z0-9_-]*(::[a-z][a-z0-9_-]*)*$/i.test(text)) return undefined;
  return text.replace(/^cairn_/, "cairn::").split("::");
}
