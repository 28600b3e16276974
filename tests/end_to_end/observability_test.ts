/**
 * What is shipped for Prometheus and Grafana, and docs/observability.md, held against what running
 * roles serve at `/metrics`.
 */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { parse } from "yaml";
import { createServer } from "../../src/mod.ts";
import { startSignalWorkers } from "../../src/roles/signal/signal_workers.ts";
import { code, table } from "../../tasks/options_doc.ts";
import { grafanaDashboard } from "../../tasks/grafana.ts";
import { ROWS } from "../../tasks/grafana_panels.ts";
import { startedRelay } from "../support/started_relay.ts";

const ROOT = new URL("../../", import.meta.url);
const RULES = "packaging/prometheus/cairn.rules.yml";
const RULE_TESTS = "packaging/prometheus/cairn.rules.test.yml";
const PAGE = "docs/observability.md";
const TOKEN = "token-of-the-test";

/** Debian package prometheus. */
const hasPromtool = await promtool("--version").then(() => true, () => false);

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
}

Deno.test("Alert rules, dashboard and docs name metrics that the roles serve, and the docs all of them", async () => {
  const texts = [await scrapeServer(), await scrapeSignal(), await scrapeRelay()];
  const served = texts.map(metricsOf);
  const names = new Set(served.flat().map(({ name }) => name));
  ok(names.size > 60, "the metrics were found");

  for (const { name, type, help } of served.flat()) {
    equal(name.endsWith("_total"), type === "counter", `${name} is a ${type}`);
    match(help, /^\p{Lu}[^.]{8,}$/u, `${name} says what it is`);
  }
  const known = (source: string, name: string) =>
    ok(names.has(name) || names.has(name.replace(/_bucket$/, "")), `${source} names ${name}`);
  for (const file of [RULES, RULE_TESTS, PAGE, "docs/operating.md"]) {
    const found =
      (await read(file)).match(/cairn_(?:server|signal|relay)_[a-z_]+[a-z](?![a-z_*])/g) ?? [];
    for (const name of found) known(file, name);
  }
  for (const { expr } of queries()) {
    const found = expr.match(/cairn_\w+/g) ?? [];
    ok(found.length > 0, expr);
    for (const name of found) known("the dashboard", name);
  }
  const page = await read(PAGE);
  for (const metrics of served) {
    const rows = metrics.map(({ name, type, help }) => [code(name), type, help]);
    const wanted = table(["Metric", "Type", "Meaning"], rows);
    ok(page.includes(wanted), `${PAGE} is to have this table:\n${wanted}`);
  }
});

Deno.test("Grafana's dashboard is made from its panels, which do not overlap and say what they show", async () => {
  const text = await read("packaging/grafana/cairn.json");
  equal(text, grafanaDashboard(), "run: deno task grafana");
  const { panels, templating } = JSON.parse(text);
  deepEqual(
    panels.map(({ title }: { title: string }) => title),
    ROWS.flatMap(({ title, panels }) => [title, ...panels.map((panel) => panel.title)]),
  );
  const cells = new Set<string>();
  for (const { type, gridPos: { x, y, w, h }, description } of panels) {
    ok(type === "row" || description.endsWith("."), description);
    for (let row = y; row < y + h; row++) {
      for (let column = x; column < x + w; column++) {
        const cell = `${row} ${column}`;
        ok(column < 24 && !cells.has(cell), `panels meet at ${cell}`);
        cells.add(cell);
      }
    }
  }
  const variables = templating.list.map(({ name }: { name: string }) => name);
  const used = [...text.matchAll(/\$\{?([a-z]\w+)/g)].map(([, name]) => name);
  deepEqual(used.filter((name) => !variables.includes(name)), []);
});

Deno.test("Every alert says what it means and what to do", async () => {
  const { groups } = parse(await read(RULES));
  const rules = groups.flatMap(({ rules }: { rules: unknown[] }) => rules);
  ok(rules.length > 20, "the rules were found");
  const names = rules.map(({ alert }: { alert: string }) => alert);
  equal(new Set(names).size, names.length);
  for (const { alert, labels, annotations } of rules) {
    match(alert, /^Cairn[A-Z]\w+$/);
    match(labels.severity, /^(critical|warning)$/);
    match(annotations.summary, /\{\{ \$labels\.instance \}\}/, alert);
    ok(annotations.description.length > 20, alert);
  }
});

Deno.test({
  name: "promtool takes the rules, their tests and the dashboard's queries",
  ignore: !hasPromtool,
  async fn() {
    await promtool("check", "rules", RULES);
    await promtool("test", "rules", RULE_TESTS);
    const rules = queries().map(({ expr }, index) => ({
      record: `query_${index}`,
      expr: expr.replaceAll("$__rate_interval", "5m"),
    }));
    const file = await Deno.makeTempFile({ suffix: ".yml" });
    try {
      await Deno.writeTextFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
      await promtool("check", "rules", file);
    } finally {
      await Deno.remove(file);
    }
  },
});

function queries() {
  return ROWS.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries));
}

/** One that takes backups and may name its peers. */
async function scrapeServer(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-metrics-" });
  const server = createServer({
    storagePath: `${folder}/data`,
    listenAddr: "127.0.0.1:0",
    management: { port: 0, token: TOKEN, metricsPerPeer: true },
    backups: {
      folder: `${folder}/backups`,
      passphrase: "a passphrase of the test",
      every: 86_400_000,
      keep: 1,
    },
  });
  try {
    await server.start();
    const url = `http://127.0.0.1:${server.addresses.management?.port}/metrics`;
    return await (await fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } })).text();
  } finally {
    await server.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** One of two threads, that looks for a bus where none is. */
async function scrapeSignal(): Promise<string> {
  const signal = await startSignalWorkers({
    listenAddr: "127.0.0.1:0",
    metricsAddr: "127.0.0.1:0",
    authTokens: [],
    drainTime: 0,
    bus: { servers: ["127.0.0.1:1"], isTls: false, login: undefined },
  }, 2);
  try {
    return await (await fetch(`http://127.0.0.1:${signal.metricsAddress?.port}/metrics`)).text();
  } finally {
    await signal.close();
  }
}

async function scrapeRelay(): Promise<string> {
  await using relay = await startedRelay();
  return await relay.metrics();
}

/** The metrics of a scrape, by name. */
function metricsOf(text: string): Metric[] {
  const helps = new Map(
    [...text.matchAll(/^# HELP (\w+) (.*)$/gm)].map(([, name = "", help = ""]) => [name, help]),
  );
  return [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)]
    .map(([, name = "", type = ""]) => ({ name, type, help: helps.get(name) ?? "" }))
    .toSorted((a, b) => a.name < b.name ? -1 : 1);
}

async function promtool(...args: readonly string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command("promtool", {
    args: [...args],
    cwd: ROOT,
  }).output();
  const decoder = new TextDecoder();
  ok(success, decoder.decode(stdout) + decoder.decode(stderr));
}

async function read(file: string): Promise<string> {
  return await Deno.readTextFile(new URL(file, ROOT));
}
