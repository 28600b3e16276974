/**
 * Holds the plan of docs/architecture.md against the syntax trees of the sources: who may import
 * whom, what the pure floors may touch, and how files are named. Needs to read, and nothing else.
 */

import assert from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);

/** The floor of a room; a file belongs to the first room whose prefix it has. */
const ROOMS: readonly (readonly [prefix: string, room: string, floor: number])[] = [
  ["src/base/", "base", 0],
  ["src/protocol/crypto/", "protocol/crypto", 1],
  ["src/protocol/stun/", "protocol/stun", 1],
  ["src/protocol/link/", "protocol/link", 2],
  ["src/protocol/session/", "protocol/session", 2],
  ["src/protocol/pairing/", "protocol/pairing", 2],
  ["src/protocol/mailbox/", "protocol/mailbox", 2],
  ["src/protocol/rendezvous/", "protocol/rendezvous", 2],
  ["src/protocol/hub/", "protocol/hub", 2],
  ["src/protocol/mdns/", "protocol/mdns", 2],
  ["src/protocol/signal/", "protocol/signal", 2],
  ["src/protocol/ice/", "protocol/ice", 2],
  ["src/protocol/turn/", "protocol/turn", 2],
  ["src/protocol/folder/", "protocol/folder", 2],
  ["src/roles/signal/", "roles/signal", 3],
  ["src/roles/path/", "roles/path", 3],
  ["src/roles/mdns/", "roles/mdns", 3],
  ["src/roles/relay/", "roles/relay", 3],
  ["src/roles/server/", "roles/server", 3],
  ["src/roles/peer/", "roles/peer", 3],
  ["src/roles/folder/", "roles/folder", 3],
  ["src/roles/", "roles", 3],
  ["src/cli/", "cli", 4],
  ["src/version.ts", "version", 0],
  ["src/mod.ts", "mod", 4],
  ["src/browser.ts", "browser", 4],
  ["main.ts", "main", 5],
];

/** Neighbours on these floors may know one another, as long as no circle closes. */
const FLOORS_WITH_NEIGHBOURS = new Set([1, 3]);

/** What the pure floors may import from outside; all of it runs in a browser. */
const PURE_PACKAGES = /^(@noble\/(curves|ciphers|hashes)|@scure\/base|cborg|uuid)(\/|$)/;

/** Names that reach time, chance, network, console or the process. */
const IMPURE_NAMES = new Set([
  "Deno",
  "process",
  "globalThis",
  "console",
  "performance",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "queueMicrotask",
  "fetch",
  "WebSocket",
  "EventSource",
  "XMLHttpRequest",
  "Worker",
  "localStorage",
  "navigator",
  "crypto",
]);
const IMPURE_MEMBERS = new Set(["Date.now", "Math.random"]);

/** The one pure-floor file that reads the clocks and the random source. */
const HOST_FILE = "src/base/host.ts";

const FORBIDDEN_FILE_NAME = /^(utils?|helpers?|common|types?|managers?|misc|constants|index)\.ts$/;

const MAX_LINES = 300;
/** The doors of the library, for programs and for pages. */
const DOORS = new Set(["src/mod.ts", "src/browser.ts"]);

/** Longer files, each with the reason why it is one thing. */
const LONG_FILES = new Map([
  ["src/roles/peer/peer_node.ts", "the face of the library: half of it is documentation"],
]);

/** Stands for `import(expression)`, which nobody can check. */
const RUN_TIME_NAME = "a name made at run time";

interface Import {
  readonly specifier: string;
  readonly reExport: boolean;
}

interface Source {
  readonly file: string;
  readonly imports: readonly Import[];
  /** Impure names it uses, with their line. */
  readonly impure: readonly string[];
  readonly lines: number;
}

const sources = await readSources();

Deno.test("Architecture: every source file belongs to a room", () => {
  assert.deepEqual(
    sources.map(({ file }) => file).filter((file) => roomOf(file) === undefined),
    [],
  );
  assert.ok(sources.length > 10, "the sources were found");
});

Deno.test("Architecture: imports go to the same room or to a lower floor", () => {
  assert.deepEqual(sources.flatMap(forbiddenImports), []);
});

Deno.test("Architecture: rooms do not depend on one another in a circle", () => {
  assert.deepEqual(circle(sources), undefined);
});

Deno.test("Architecture: base and protocol touch no time, chance, network, console or process", () => {
  assert.deepEqual(sources.flatMap(impurities), []);
});

Deno.test("Architecture: only the doors of the library re-export", () => {
  assert.deepEqual(sources.flatMap(reExports), []);
});

Deno.test("Architecture: no file is too long without a reason, and no reason outlives its file", () => {
  const long = sources.filter(({ lines }) => lines > MAX_LINES).map(({ file }) => file);
  assert.deepEqual(long.filter((file) => !LONG_FILES.has(file)), []);
  assert.deepEqual([...LONG_FILES.keys()].filter((file) => !long.includes(file)), []);
});

Deno.test("Architecture: no file is named after nothing in particular", async () => {
  const files = [
    ...await filesBelow("src"),
    ...await filesBelow("tests"),
    ...await filesBelow("tasks"),
  ];
  assert.deepEqual(files.filter((file) => FORBIDDEN_FILE_NAME.test(baseName(file))), []);
});

Deno.test("Architecture: the checks see what they forbid", () => {
  const bad = (file: string, text: string) => inspect(file, text);

  const upwards = bad("src/protocol/link/link.ts", 'import { x } from "../../roles/driver.ts";');
  assert.match(forbiddenImports(upwards).join(), /link\.ts imports src\/roles\/driver\.ts/);
  const lazily = bad("src/base/bytes.ts", 'await import("../protocol/cbor.ts");');
  assert.match(forbiddenImports(lazily).join(), /bytes\.ts imports src\/protocol\/cbor\.ts/);
  const typeOnly = bad("src/base/bytes.ts", 'import type { X } from "../cli/options.ts";');
  assert.equal(forbiddenImports(typeOnly).length, 1);
  const typeQuery = bad("src/base/bytes.ts", 'type X = import("../cli/options.ts").X;');
  assert.equal(forbiddenImports(typeQuery).length, 1);
  const neighbour = bad("src/protocol/link/link.ts", 'import { x } from "../session/session.ts";');
  assert.equal(forbiddenImports(neighbour).length, 1);
  const elsewhere = bad("src/protocol/link/link.ts", 'import { x } from "node:crypto";');
  assert.match(forbiddenImports(elsewhere).join(), /node:crypto/);
  const computed = bad("src/cli/options.ts", "await import(name);");
  assert.equal(forbiddenImports(computed).length, 1);
  const allowed = bad("src/protocol/link/link.ts", 'import { x } from "../cbor.ts";');
  assert.deepEqual(forbiddenImports(allowed), []);

  const there = bad("src/roles/peer/a.ts", 'import { b } from "../server/b.ts";');
  const back = bad("src/roles/server/b.ts", 'import { a } from "../peer/a.ts";');
  assert.deepEqual(circle([there]), undefined);
  assert.match(circle([there, back]) ?? "", /roles\/peer -> roles\/server -> roles\/peer/);

  for (
    const text of [
      "Date.now();",
      "Math.random();",
      "new Date();",
      "setTimeout(() => {}, 1);",
      "crypto.getRandomValues(new Uint8Array(1));",
      "const { env } = Deno;",
      "console.log(1);",
      "await fetch(url);",
      "let socket: WebSocket;",
      "const now = { performance };",
      "self.fetch(url);",
    ]
  ) {
    assert.equal(impurities(bad("src/protocol/cbor.ts", text)).length, 1, text);
    assert.deepEqual(impurities(bad("src/roles/driver.ts", text)), [], text);
    assert.deepEqual(impurities(bad(HOST_FILE, text)), [], text);
  }
  const innocent = "// Date.now\nconst a = { fetch: 1, console: 2 }; a.fetch; new Date(5); 'Deno';";
  assert.deepEqual(impurities(bad("src/protocol/cbor.ts", innocent)), []);

  const barrel = 'export * from "./cbor.ts"; export { x } from "./cbor.ts";';
  assert.equal(reExports(bad("src/protocol/all.ts", barrel)).length, 2);
  assert.deepEqual(reExports(bad("src/mod.ts", barrel)), []);
  assert.match("utils.ts", FORBIDDEN_FILE_NAME);
});

function forbiddenImports({ file, imports }: Source): string[] {
  const [room, floor] = roomOf(file) ?? ["", 0];
  return imports.flatMap(({ specifier }) => {
    if (!specifier.startsWith(".")) {
      const pure = floor <= 2 || specifier === RUN_TIME_NAME;
      return pure && !PURE_PACKAGES.test(specifier) ? [`${file} imports ${specifier}`] : [];
    }
    const target = resolve(file, specifier);
    const [otherRoom, otherFloor] = roomOf(target) ?? ["", Infinity];
    const allowed = otherRoom === room || otherFloor < floor ||
      (otherFloor === floor && FLOORS_WITH_NEIGHBOURS.has(floor));
    return allowed ? [] : [`${file} imports ${target}`];
  });
}

function impurities({ file, impure }: Source): string[] {
  if (file === HOST_FILE || (roomOf(file)?.[1] ?? 0) > 2) return [];
  return impure.map((use) => `${file} uses ${use}`);
}

function reExports({ file, imports }: Source): string[] {
  if (DOORS.has(file)) return [];
  return imports.filter(({ reExport }) => reExport).map(({ specifier }) =>
    `${file} re-exports ${specifier}`
  );
}

/** The rooms of one circle of imports, or `undefined`. */
function circle(inspected: readonly Source[]): string | undefined {
  const edges = new Map<string, Set<string>>();
  for (const { file, imports } of inspected) {
    const [room] = roomOf(file) ?? [""];
    for (const { specifier } of imports) {
      if (!specifier.startsWith(".")) continue;
      const [other] = roomOf(resolve(file, specifier)) ?? [""];
      if (other !== room) edges.set(room, (edges.get(room) ?? new Set()).add(other));
    }
  }
  const done = new Set<string>();
  const visit = (room: string, path: readonly string[]): string | undefined => {
    if (path.includes(room)) return [...path.slice(path.indexOf(room)), room].join(" -> ");
    if (done.has(room)) return undefined;
    for (const next of edges.get(room) ?? []) {
      const found = visit(next, [...path, room]);
      if (found !== undefined) return found;
    }
    done.add(room);
    return undefined;
  };
  for (const room of [...edges.keys()].sort()) {
    const found = visit(room, []);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inspect(file: string, text: string): Source {
  const imports: Import[] = [];
  const impure: string[] = [];
  const found = (source: unknown, reExport: boolean) => {
    const isText = typeof source === "object" && source !== null && "value" in source &&
      typeof source.value === "string";
    imports.push({ specifier: isText ? `${source.value}` : RUN_TIME_NAME, reExport });
  };
  const lineOf = (node: Deno.lint.Node) => text.slice(0, node.range[0]).split("\n").length;
  const plugin: Deno.lint.Plugin = {
    name: "architecture",
    rules: {
      "imports-and-names": {
        create: () => ({
          ImportDeclaration: (node) => found(node.source, false),
          ImportExpression: (node) => found(node.source, false),
          ExportAllDeclaration: (node) => found(node.source, true),
          ExportNamedDeclaration: (node) => {
            if (node.source) found(node.source, true);
          },
          TSImportType: ({ argument }) => found("literal" in argument && argument.literal, false),
          NewExpression: (node) => {
            const { callee } = node;
            if (
              callee.type === "Identifier" && callee.name === "Date" && node.arguments.length === 0
            ) {
              impure.push(`new Date() in line ${lineOf(node)}`);
            }
          },
          MemberExpression: (node) => {
            const { object, property } = node;
            if (object.type !== "Identifier" || property.type !== "Identifier") return;
            const name = `${object.name}.${property.name}`;
            const global = object.name === "self" || object.name === "window";
            if (IMPURE_MEMBERS.has(name) || (global && IMPURE_NAMES.has(property.name))) {
              impure.push(`${name} in line ${lineOf(node)}`);
            }
          },
          Identifier: (node) => {
            if (!IMPURE_NAMES.has(node.name) || isOnlyALabel(node)) return;
            impure.push(`${node.name} in line ${lineOf(node)}`);
          },
        }),
      },
    },
  };
  Deno.lint.runPlugin(plugin, file, text);
  return { file, imports, impure: [...new Set(impure)], lines: text.trimEnd().split("\n").length };
}

/** Whether an identifier names a member or a key, and not a variable or a type. */
function isOnlyALabel(node: Deno.lint.Identifier): boolean {
  const parent: unknown = node.parent;
  if (typeof parent !== "object" || parent === null) return false;
  const computed = "computed" in parent && parent.computed === true;
  if (computed) return false;
  const isNode = (candidate: unknown): boolean =>
    typeof candidate === "object" && candidate !== null && "range" in candidate &&
    JSON.stringify(candidate.range) === JSON.stringify(node.range);
  const shorthand = "shorthand" in parent && parent.shorthand === true;
  if ("property" in parent && isNode(parent.property)) return true;
  return "key" in parent && isNode(parent.key) && !shorthand;
}

function roomOf(file: string): readonly [room: string, floor: number] | undefined {
  // Each codec that lies directly in protocol/ is a small room of its own.
  if (/^src\/protocol\/\w+\.ts$/.test(file)) return [file.slice("src/".length), 1];
  const found = ROOMS.find(([prefix]) => file.startsWith(prefix));
  return found && [found[1], found[2]];
}

function resolve(file: string, specifier: string): string {
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

function baseName(file: string): string {
  return file.slice(file.lastIndexOf("/") + 1);
}

async function readSources(): Promise<Source[]> {
  const files = ["main.ts", ...await filesBelow("src")];
  return await Promise.all(
    files.map(async (file) => inspect(file, await Deno.readTextFile(new URL(file, ROOT)))),
  );
}

async function filesBelow(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, ROOT))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...await filesBelow(path));
    else if (entry.name.endsWith(".ts")) files.push(path);
  }
  return files.sort();
}
