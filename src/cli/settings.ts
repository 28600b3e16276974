/**
 * Finds out what an option is set to: the flag, else the environment variable (or, for a secret
 * and some lists, the file that its `_FILE` variable names), else the default.
 */

import { CairnError } from "../base/errors.ts";
import type { ValueKind } from "./option_values.ts";

/** Every command that takes options, as it is typed. */
export type CommandName =
  | "signal"
  | "relay"
  | "relay check"
  | "relay check-peer"
  | "server"
  | "server id"
  | "server pair"
  | "server peers"
  | "server requests"
  | "server approve"
  | "server refuse"
  | "server unpair"
  | "server psk"
  | "server queue"
  | "server purge"
  | "server backup"
  | "server restore"
  | "server export"
  | "server trace"
  | "up"
  | "init"
  | "config check"
  | "health"
  | "doctor"
  | "completions"
  | "peer id"
  | "peer pair"
  | "peer unpair"
  | "peer list"
  | "peer send"
  | "peer listen"
  | "peer chat"
  | "peer sync"
  | "peer safety-number"
  | "peer doctor"
  | "peer backup"
  | "peer restore";

/** One row of the table of options. */
export interface OptionRow<T> {
  /** As in `--listen-addr`. */
  readonly flag: string;
  readonly env?: string;
  /** Written as a user would write it. */
  readonly default?: string;
  /** Stands where the default would, when the program works it out. */
  readonly otherwise?: string;
  readonly sentence: string;
  readonly kind: ValueKind<T>;
  /** Never shown; may come from the file that `<env>_FILE` names. */
  readonly secret?: true;
  /** May come from the file that `<env>_FILE` names, as a secret may. */
  readonly fromFile?: true;
  /** In `--help`; the others only in `--help-all`. */
  readonly essential?: true;
  readonly commands: readonly CommandName[];
  /** Where one command differs. */
  readonly per?: Partial<
    Record<CommandName, { readonly flag?: string; readonly default?: string }>
  >;
}

/** A row that has a value even when nobody sets it. */
export type OptionWithDefault<T> = OptionRow<T> & { readonly default: string };

/** What the values are read from besides the command line. */
export interface Surroundings {
  readonly env: (name: string) => string | undefined;
  /** The names of all variables. */
  readonly names: () => readonly string[];
  readonly readTextFile: (path: string) => string;
}

/** The process's own environment and files. */
export const processSurroundings: Surroundings = {
  env: (name) => Deno.env.get(name),
  names: () => Object.keys(Deno.env.toObject()),
  readTextFile: (path) => Deno.readTextFileSync(path),
};

/** Whether the variable with `_FILE` at its end sets `row`, too. */
export function mayBeFile(row: OptionRow<unknown>): boolean {
  return row.secret === true || row.fromFile === true;
}

/** The flag of `row` on `command`. */
export function flagOf(row: OptionRow<unknown>, command: CommandName): string {
  return row.per?.[command]?.flag ?? row.flag;
}

/** The default of `row` on `command`. */
export function defaultOf(row: OptionRow<unknown>, command: CommandName): string | undefined {
  return row.per?.[command]?.default ?? row.default;
}

/** The settings of one run of one command. */
export class Settings {
  /** `flags` maps a flag to the text that was given with it. */
  constructor(
    readonly command: CommandName,
    private readonly flags: ReadonlyMap<string, string>,
    readonly surroundings: Surroundings,
  ) {}

  /**
   * The value of `row`, or `undefined` when nothing sets it and it has no default.
   * @throws {CairnError} `invalid-option` on a wrong value.
   */
  value<T>(row: OptionWithDefault<T>): T;
  value<T>(row: OptionRow<T>): T | undefined;
  value<T>(row: OptionRow<T>): T | undefined {
    if (!row.commands.includes(this.command)) {
      throw new TypeError(`"cairn ${this.command}" has no option ${row.flag}`);
    }
    const given = this.#given(row);
    if (given !== undefined) return parse(row, given.text, given.source);
    const fallback = defaultOf(row, this.command);
    return fallback === undefined ? undefined : parse(row, fallback, "the default");
  }

  /** What `command` would be set to in the same surroundings, without any flag. */
  as(command: CommandName): Settings {
    return new Settings(command, new Map(), this.surroundings);
  }

  /** Whether a flag or a variable sets `row`. */
  isSet(row: OptionRow<unknown>): boolean {
    return this.#given(row) !== undefined;
  }

  /** How a user would set `row` here, for an error message. */
  howToSet(row: OptionRow<unknown>): string {
    const flag = flagOf(row, this.command);
    return row.env === undefined ? flag : `${flag} or ${row.env}`;
  }

  #given(row: OptionRow<unknown>): { text: string; source: string } | undefined {
    const flag = flagOf(row, this.command);
    const onCommandLine = this.flags.get(flag);
    if (onCommandLine !== undefined) return { text: onCommandLine, source: flag };
    if (row.env === undefined) return undefined;
    const inEnvironment = this.surroundings.env(row.env) || undefined;
    if (mayBeFile(row)) {
      const file = this.surroundings.env(`${row.env}_FILE`) || undefined;
      if (file !== undefined && inEnvironment !== undefined) {
        throw new CairnError(
          "invalid-option",
          `${row.env} and ${row.env}_FILE are both set; keep one`,
        );
      }
      const content = row.secret ? "the secret" : "the value";
      if (file !== undefined) return this.#fromFile(`${row.env}_FILE`, file, content);
    }
    return inEnvironment === undefined ? undefined : { text: inEnvironment, source: row.env };
  }

  #fromFile(variable: string, path: string, content: string): { text: string; source: string } {
    try {
      const text = this.surroundings.readTextFile(path);
      return { text: text.replace(/\r?\n$/, ""), source: variable };
    } catch (cause) {
      throw new CairnError(
        "invalid-option",
        `${variable}: cannot read "${path}"; expected a file that holds ${content}`,
        { cause },
      );
    }
  }
}

/** What of a URL may hold a secret (user and password, query, fragment) is not shown. */
function withoutSecrets(text: string): string {
  return text.replace(/:\/\/.*@/s, "://…@").replace(/(:\/\/[^?#]*[?#]).*/s, "$1…");
}

function parse<T>(row: OptionRow<T>, text: string, source: string): T {
  const value = row.kind.parse(text);
  if (value !== undefined) return value;
  const shown = row.secret ? "its value is not right" : `"${withoutSecrets(text)}" is not right`;
  throw new CairnError("invalid-option", `${source}: ${shown}; expected ${row.kind.expected}`);
}
