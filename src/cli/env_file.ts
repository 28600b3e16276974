/**
 * Files of variables as `docker --env-file` and systemd's `EnvironmentFile=` read them too: in each
 * line `NAME=value`; lines that are empty or begin with `#` do not count.
 */

import { CairnError } from "../base/errors.ts";
import type { Surroundings } from "./settings.ts";

const LINE = /^(?:export\s+)?([A-Za-z_]\w*)\s*=(.*)$/;

/**
 * `surroundings` with the variables of a file behind those of the environment.
 * @throws {CairnError} `invalid-option` when the file cannot be read or a line is wrong.
 */
export function withEnvFile(path: string, surroundings: Surroundings): Surroundings {
  let text: string;
  try {
    text = surroundings.readTextFile(path);
  } catch (cause) {
    throw new CairnError(
      "invalid-option",
      `Cannot read the file of variables "${path}": check the path and its permissions, or make ` +
        "one with cairn init",
      { cause },
    );
  }
  const inFile = parseEnvFile(text, path);
  return {
    ...surroundings,
    env: (name) => surroundings.env(name) || inFile.get(name),
    names: () => [...new Set([...surroundings.names(), ...inFile.keys()])],
  };
}

/**
 * The variables of a file's `text`; `path` is for messages, in which no value stands.
 * @throws {CairnError} `invalid-option`.
 */
export function parseEnvFile(text: string, path: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const [, name, value = ""] = LINE.exec(line) ?? [];
    if (name === undefined) {
      throw new CairnError(
        "invalid-option",
        `Line ${index + 1} of ${path} is not right; expected NAME=value, or # and a comment`,
      );
    }
    found.set(name, withoutQuotes(value.trim()));
  }
  return found;
}

/** systemd and shells take quotes away, Docker does not; a value of ours never needs them. */
function withoutQuotes(value: string): string {
  return /^(["']).*\1$/.test(value) && value.length > 1 ? value.slice(1, -1) : value;
}
