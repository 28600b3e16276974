/** Holds docs/relay_checklist.md against the tests. */

import { deepStrictEqual, ok } from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);
const FOLDERS = ["tests/protocol/stun", "tests/protocol/turn", "tests/roles/relay"];
const STATEMENT = /\b2-[A-Z]+-\d+\b/g;

const rows = [...(await read("docs/relay_checklist.md")).matchAll(
  /^\| (2-[A-Z]+-\d+) +\| (.+?) +\| (.+?) +\|$/gm,
)].map(([, statement = "", , state = ""]) => ({ statement, isTested: state.startsWith("tested") }));
const named = await namedStatements();

Deno.test("relay_checklist.md has a row for every statement, in order", () => {
  const numbers = rows.map(({ statement }) => Number(statement.split("-")[2]));
  deepStrictEqual(numbers, Array.from({ length: 129 }, (_, i) => i + 1));
});

Deno.test("relay_checklist.md calls a statement tested when a test has its number", () => {
  ok(named.size > 100, "the tests were found");
  for (const { statement, isTested } of rows) {
    deepStrictEqual([statement, named.has(statement)], [statement, isTested]);
  }
  const known = new Set(rows.map(({ statement }) => statement));
  deepStrictEqual([...named].filter((statement) => !known.has(statement)), []);
});

/** The statements that test names begin with. */
async function namedStatements(): Promise<Set<string>> {
  const statements = new Set<string>();
  for (const folder of FOLDERS) {
    for await (const { name } of Deno.readDir(new URL(folder, ROOT))) {
      if (!name.endsWith("_test.ts")) continue;
      const text = await read(`${folder}/${name}`);
      for (const [, title = ""] of text.matchAll(/Deno\.test\(\s*["`]([^"`]+)["`]/g)) {
        for (const [statement] of title.matchAll(STATEMENT)) statements.add(statement);
      }
    }
  }
  return statements;
}

async function read(path: string): Promise<string> {
  return await Deno.readTextFile(new URL(path, ROOT));
}
