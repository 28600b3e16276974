/** Reads a Dockerfile as far as ours go: stages, instructions, JSON or shell words. */

/** What an image of one stage is, with what it has from the stages below it. */
export interface Stage {
  readonly name: string;
  /** The image of another project at its bottom. */
  readonly base: string;
  readonly instructions: readonly (readonly [word: string, rest: string])[];
}

/** The stages by name; the one that `docker build` makes by default is `default`, too. */
export function parseDockerfile(text: string): Map<string, Stage> {
  const stages = new Map<string, Stage>();
  let current: { name: string; base: string; instructions: (readonly [string, string])[] } = {
    name: "",
    base: "",
    instructions: [],
  };
  for (const line of text.replaceAll("\\\n", " ").split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, word = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (word === "") throw new Error(`Not an instruction: ${line}`);
    if (word === "FROM") {
      const [from = "", as, name = "default"] = rest.split(/\s+/);
      if (as !== undefined && as !== "AS") throw new Error(`Not a FROM: ${line}`);
      const below = stages.get(from);
      current = { name, base: below?.base ?? from, instructions: [...below?.instructions ?? []] };
      stages.set(name, current);
      stages.set("default", current);
    } else {
      current.instructions.push([word, rest]);
    }
  }
  return stages;
}

/** The words of the last instruction of a kind, in its JSON form; a new entry point ends `CMD`. */
export function wordsOf(stage: Stage, word: "ENTRYPOINT" | "CMD"): string[] {
  const last = stage.instructions.findLast(([each]) => each === word);
  return last === undefined ? [] : JSON.parse(last[1]);
}

/** The variables that an image sets. */
export function variablesOf(stage: Stage): Record<string, string> {
  const pairs = stage.instructions.filter(([word]) => word === "ENV")
    .flatMap(([, rest]) => [...rest.matchAll(/(\w+)=(\S+)/g)]);
  return Object.fromEntries(pairs.map(([, name = "", value = ""]) => [name, value]));
}
