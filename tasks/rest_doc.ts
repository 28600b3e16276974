// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/** Writes docs/rest.md from the OpenAPI document of a server; `--check` only compares. */

import { createServer } from "../src/mod.ts";
import { EVENTS } from "../src/roles/server/server_events.ts";
import { code, table } from "./options_doc.ts";

const FILE = new URL("../docs/rest.md", import.meta.url);
const TOKEN = "token-of-the-task";

const INTRODUCTION = `# Management REST API

Made from the routes in \`src/roles/server/api/\` by \`deno task rest-doc\`. A server tells the same to
programs at \`/openapi.json\`, as OpenAPI 3.1. [operating.md](operating.md) says how to reach it.

\`GET /\` is the [dashboard](dashboard.md). Every other request but \`GET /health\` needs the header
\`Authorization: Bearer\` with the management token. Bodies and answers are JSON unless a route says
otherwise, and no answer may be stored. A refusal is
\`{"error": "one sentence for a person", "code": "what-a-program-branches-on"}\`:

`;

const REFUSALS = [
  ["401", "The token is missing or wrong"],
  ["403", "The `Host` is neither `localhost`, an IP address nor in `CAIRN_MGMT_HOSTS`"],
  ["404", "There is nothing at the path, or no such peer, queue or offer"],
  ["405", "The path does not take the method; `Allow` says which it takes"],
  ["409", "It cannot be done as things are"],
  ["413", "The body has more than 16 KiB"],
  ["415", "The body is not marked as `application/json`"],
  ["422", "A value is not right; the sentence names it"],
  [
    "429",
    "The token is wrong, and so were ten before it from the address; the right one never waits",
  ],
  ["503", "There are 32 listeners to `/events`, or the server is about to end"],
  ["507", "The disk is full"],
];

const EVENTS_INTRODUCTION = `
## Events

\`GET /events\` is a stream of server-sent events, for \`fetch\` with the header; no token stands in a
URL. An event has a type and, as data, a JSON object; most have an id. A listener that comes back
with \`Last-Event-ID\` gets what it missed of the latest 256, or the event \`missed\` when some of it is
gone: ask for the state anew then. A comment comes every 15 s. A listener for which 64 KiB wait is
hung up on.

`;

/** What is read of an OpenAPI document. */
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
}

/** The page, formatted as `deno fmt` would. */
export async function restDocument(): Promise<string> {
  const document = await askForDocument();
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags))];
  const sections = tags.map((tag) => {
    const rows = operations.filter(({ operation }) => operation.tags.includes(tag)).map(
      ({ path, method, operation }) => [
        code(`${method.toUpperCase()} ${path}`),
        sentenceOf(operation),
        takes(operation),
        answers(operation),
      ],
    );
    return `\n## ${tag}\n\n${table(["Route", "What it does", "Takes", "Answers"], rows)}`;
  });
  const shapes = Object.entries(document.components.schemas).filter(([name]) => name !== "Problem")
    .map(([name, schema]) => {
      const rows = Object.entries(propertiesOf(schema)).map(([field, property]) => [
        code(schema.required?.includes(field) ?? true ? field : `${field}?`),
        typeOf(property),
        property.description ?? "",
      ]);
      return rows.length === 0
        ? `\n### ${name}\n\n${typeOf(schema)}\n`
        : `\n### ${name}\n\n${table(["Field", "Type", "Meaning"], rows)}`;
    });
  const events = Object.entries(EVENTS).map(([type, meaning]) => [code(type), meaning]);
  return [
    INTRODUCTION,
    table(["Status", "When"], REFUSALS),
    ...sections,
    EVENTS_INTRODUCTION,
    table(["Event", "What happened, and the data"], events),
    "\n## Shapes\n",
    ...shapes,
  ].join("");
}

async function askForDocument(): Promise<Document> {
  const storagePath = await Deno.makeTempDir({ prefix: "cairn-rest-doc-" });
  const server = createServer({
    storagePath,
    listenAddr: "127.0.0.1:0",
    management: { port: 0, token: TOKEN },
  });
  try {
    await server.start();
    const url = `http://127.0.0.1:${server.addresses.management?.port}/openapi.json`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } });
    return await response.json();
  } finally {
    await server.close();
    await Deno.remove(storagePath, { recursive: true });
  }
}

function sentenceOf({ summary, description }: Operation): string {
  return description === undefined ? summary : `${summary}. ${description}`;
}

function takes({ parameters = [], requestBody }: Operation): string {
  const query = parameters.filter((parameter) => parameter.in === "query").map(
    ({ name, schema }) => {
      const fallback = schema.default === undefined ? "" : `, default ${schema.default}`;
      return `${code(`?${name}=`)} ${typeOf(schema)}${fallback}`;
    },
  );
  return [...query, ...requestBody ? [contentOf(requestBody.content)] : []].join("; ");
}

function answers({ responses }: Operation): string {
  return contentOf(responses["200"]?.content ?? {});
}

function contentOf(content: Content): string {
  return Object.entries(content).map(([type, { schema }]) =>
    type === "application/json" ? typeOf(schema) : code(type)
  ).join(", ");
}

function propertiesOf({ properties = {}, allOf = [] }: Schema): Readonly<Record<string, Schema>> {
  return Object.assign({}, properties, ...allOf.map((part) => part.properties ?? {}));
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return nameOf(schema.$ref);
  if (schema.enum !== undefined) return schema.enum.map(code).join(" or ");
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.allOf !== undefined) return schema.allOf.map(typeOf).join(" with ");
  if (schema.items !== undefined) return `array of ${typeOf(schema.items)}`;
  if (schema.properties !== undefined) {
    const fields = Object.entries(schema.properties);
    return fields.map(([name, field]) => `${code(name)}: ${typeOf(field)}`).join(", ");
  }
  return [schema.type ?? "anything"].flat().join(" or ");
}

function nameOf(reference: string): string {
  const name = reference.split("/").at(-1) ?? "";
  return `[${name}](#${name.toLowerCase()})`;
}

if (import.meta.main) {
  const wanted = await restDocument();
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(FILE, wanted);
  } else if (await Deno.readTextFile(FILE).catch(() => "") !== wanted) {
    console.error("docs/rest.md is not up to date; run: deno task rest-doc");
    Deno.exit(1);
  }
}
