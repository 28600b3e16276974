const MAX_RULES = 1_000;
const MAX_RULE_LENGTH = 500;

/**
 * What a device leaves out, as its `.cairnignore` says it: a pattern a line, `#` begins a comment.
 * `*` and `?` stand for anything but `/`, `**` for anything. A pattern with a `/` before its end is
 * held against the whole path, any other against each name of it; what lies in a folder that matches
 * is left out, and a pattern that ends with `/` matches folders alone.
 */
export class IgnoreRules {
  readonly #rules: readonly RegExp[];

  /** Lines beyond 1,000 and lines longer than 500 characters have no effect. */
  constructor(text: string) {
    this.#rules = text.split(/\r?\n/).map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("#") && line.length <= MAX_RULE_LENGTH)
      .slice(0, MAX_RULES)
      .map(ruleOf);
  }

  /** Whether the file at `path` is left out. */
  ignores(path: string): boolean {
    return this.#rules.some((rule) => rule.test(path));
  }

  /** Whether everything in the folder at `path` is left out. */
  ignoresFolder(path: string): boolean {
    return this.ignores(`${path}/`);
  }
}

function ruleOf(line: string): RegExp {
  const onlyFolders = line.endsWith("/");
  const pattern = line.replace(/\/+$/, "");
  const anchored = pattern.includes("/");
  const body = pattern.replace(/^\/+/, "").split(/(\*{2,}\/?|\*|\?)/).map(glob).join("");
  const end = onlyFolders ? "/" : "(?:/|$)";
  return new RegExp(`^${anchored ? "" : "(?:.*/)?"}${body}${end}`, "su");
}

function glob(part: string): string {
  if (part === "*") return "[^/]*";
  if (part === "?") return "[^/]";
  if (part.startsWith("**")) return part.endsWith("/") ? "(?:.*/)?" : ".*";
  return part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
