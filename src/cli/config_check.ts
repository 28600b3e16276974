/** `cairn config check`: what is wrong with the settings, and what each role would do with them. */

import { distance } from "./edit_distance.ts";
import { parseRoleArgument } from "./role_argument.ts";
import { asProblem, describeRole, type Finding } from "./role_summary.ts";
import { OPTIONS, optionsOf } from "./options.ts";
import type { Role } from "./option_values.ts";
import { mayBeFile, type OptionRow, type Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";

/** Variables that are no options. */
const OTHER_NAMES: ReadonlySet<string> = new Set(["CAIRN_PARENT_STDIN"]);
/** Letters by which a mistyped name may differ from the right one. */
const NEAR = 3;

/** Returns 0 when nothing is wrong, 1 otherwise. Nothing is made or changed. */
export async function configCheck(settings: Settings, named: string | undefined): Promise<number> {
  const roles = parseRoleArgument(named);
  const problems = new Set(unknownNames(settings));
  for (const each of roles) {
    await printLine(`cairn ${each}`);
    for (const { kind, sentence } of await examine(settings.as(each), each)) {
      if (kind === "problem") problems.add(sentence);
      else await printLine(`  ${kind === "note" ? "note: " : ""}${escapeControls(sentence)}`);
    }
  }
  const file = settings.value(OPTIONS.envFile);
  if (file !== undefined && await isOpenToOthers(file)) {
    await printLine(`note: others can read ${file}; close it with: chmod 600 ${file}`);
  }
  for (const problem of problems) await printLine(`problem: ${escapeControls(problem)}`);
  await printLine(
    problems.size === 0
      ? "Nothing is wrong with these settings."
      : `${problems.size} of these must be put right.`,
  );
  return problems.size === 0 ? 0 : 1;
}

async function examine(settings: Settings, each: Role): Promise<Finding[]> {
  const wrong: Finding[] = [];
  for (const row of optionsOf(each)) {
    try {
      settings.value(row);
    } catch (error) {
      wrong.push(asProblem(error));
    }
  }
  if (wrong.length > 0) return wrong;
  return await Array.fromAsync(describeRole(settings, each));
}

async function isOpenToOthers(path: string): Promise<boolean> {
  const info = await Deno.stat(path).catch(() => undefined);
  return ((info?.mode ?? 0) & 0o077) !== 0;
}

function unknownNames(settings: Settings): string[] {
  const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
  const known = new Set(rows.flatMap((row) => {
    if (row.env === undefined) return [];
    return mayBeFile(row) ? [row.env, `${row.env}_FILE`] : [row.env];
  }));
  return settings.surroundings.names()
    .filter((name) => name.startsWith("CAIRN_") && !known.has(name) && !OTHER_NAMES.has(name))
    .map((name) => {
      const [near] = [...known].toSorted((one, other) =>
        distance(name, one) - distance(name, other)
      );
      const advice = near !== undefined && distance(name, near) <= NEAR
        ? `; did you mean ${near}?`
        : "; see docs/options.md";
      return `${name} is no setting of cairn${advice}`;
    });
}
