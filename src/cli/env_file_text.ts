/** Writes files of variables, with every setting of a role and what it is for. */

import { optionsOf } from "./options.ts";
import type { Role } from "./option_values.ts";
import { defaultOf, type OptionRow } from "./settings.ts";

const WIDTH = 98;

/** The file at `path` for `role`, in which `values` are set and all others stand as comments. */
export function envFileText(
  role: Role,
  path: string,
  values: ReadonlyMap<string, string>,
): string {
  const rows = optionsOf(role).filter(({ env }) => env !== undefined && env !== "CAIRN_ENV_FILE");
  const ofRow = (row: OptionRow<unknown>) => entry(row, role, values);
  return [
    comment(
      `Settings of cairn ${role}, made by cairn init. Every setting is here; where a line begins ` +
        "with #, the default holds. This file holds secrets: nobody else should be able to read it.",
    ),
    "#",
    `#   cairn ${role} --env-file ${path}`,
    `#   docker run --env-file ${path} …`,
    `#   EnvironmentFile=${path} in a unit of systemd`,
    "",
    comment("What matters most"),
    "",
    ...rows.filter(({ essential }) => essential).map(ofRow),
    comment("Everything else"),
    "",
    ...rows.filter(({ essential }) => !essential).map(ofRow),
  ].join("\n");
}

function entry(
  row: OptionRow<unknown>,
  role: Role,
  values: ReadonlyMap<string, string>,
): string {
  const { env = "", sentence, otherwise } = row;
  const fallback = defaultOf(row, role);
  const about = fallback || otherwise === undefined ? "" : ` (default: ${otherwise})`;
  const value = values.get(env);
  const line = value === undefined ? `#${env}=${fallback ?? ""}` : `${env}=${value}`;
  return `${comment(sentence + about)}\n${line}\n`;
}

/** `text` as lines that begin with `# `. */
function comment(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + word.length >= WIDTH) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines.map((line) => `# ${line}`).join("\n");
}
