/** Finds the command lines that pages and comments show. */

/** A command line, and where it stands. */
export interface Written {
  readonly where: string;
  readonly line: string;
}

/** The lines of the `sh` blocks of a page: continued ones joined, without comments and prompts. */
export function shellLines(page: string, where: string): Written[] {
  return [...page.matchAll(/^( *)```sh\n(.*?)^\1```$/gms)].flatMap(([, , block = ""]) =>
    block.replaceAll(/\\\n\s*/g, " ").split("\n")
      .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
      .filter((line) => line !== "")
      .map((line) => ({ where, line }))
  );
}

/** What stands in a page between backquotes and begins with the name of the program. */
export function inlineCommands(page: string, where: string): Written[] {
  return [...page.replaceAll(/^ *```.*?^ *```$/gms, "").matchAll(/`(cairn(?:-\w+)?(?: [^`]+)?)`/g)]
    .map(([, line = ""]) => ({ where, line: line.replaceAll("\\|", "|").replaceAll(/\s+/g, " ") }))
    .filter(({ line }) => /^cairn(-(signal|relay|server))? [a-zA-Z-]/.test(line));
}

/** The command lines in comments that begin with `#`, after a colon or indented. */
export function commentedCommands(text: string, where: string): Written[] {
  return [
    ...text.matchAll(/^#.*?(?:: |\s{2,})((?:sudo )?(?:cairn|docker|systemctl|install) .*)$/gm),
  ]
    .map(([, line = ""]) => ({ where, line }));
}

/** The simple commands of a line, each in words; quotes are taken away and `$(…)` is a word. */
export function simpleCommands(line: string): string[][] {
  const commands: string[][] = [[]];
  const words = line.matchAll(
    /\s*(\|\||&&|[;|]|(?:[$<]\([^)]*\)|"[^"]*"|'[^']*'|[^\s"';|]|\|(?=\S))+)/g,
  );
  for (const [, word = ""] of words) {
    if (/^(\|\||&&|[;|])$/.test(word)) commands.push([]);
    else commands.at(-1)?.push(word.replaceAll(/^(["'])(.*)\1$/g, "$2").replaceAll(/"/g, ""));
  }
  return commands.filter((command) => command.length > 0);
}
