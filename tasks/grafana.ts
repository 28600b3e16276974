// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/** Writes packaging/grafana/cairn.json from tasks/grafana_panels.ts; `--check` only compares. */

import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { LegendPlacement, VizLegendOptionsBuilder } from "@grafana/grafana-foundation-sdk/common";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";
import { type PanelPlan, ROWS } from "./grafana_panels.ts";

const FILE = new URL("../packaging/grafana/cairn.json", import.meta.url);
/** Whoever imports the dashboard chooses one. */
const SOURCE = { type: "prometheus", uid: "${datasource}" };
/** Of the 24 columns of Grafana's grid. */
const PANEL_WIDTH = 6;
const PANEL_HEIGHT = 7;

/** The dashboard in the classic JSON model that every supported Grafana imports. */
export function grafanaDashboard(): string {
  const dashboard = new DashboardBuilder("cairn")
    .uid("cairn")
    .description("The roles of cairn: server, signaling server and TURN relay")
    .tags(["cairn"])
    .time({ from: "now-6h", to: "now" })
    .timezone("browser")
    .refresh("1m")
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(
      new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    )
    .withVariable(
      new QueryVariableBuilder("instance")
        .label("Instance")
        .query('label_values({__name__=~"cairn_.+_uptime_seconds"}, instance)')
        .datasource(SOURCE)
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .multi(true)
        .includeAll(true)
        .allValue(".+")
        .current({ text: "All", value: "$__all" }),
    );
  let id = 0;
  for (const { title, panels } of ROWS) {
    dashboard.withRow(new RowBuilder(title).id(++id));
    for (const plan of panels) dashboard.withPanel(panelOf(plan).id(++id));
  }
  return `${JSON.stringify(dashboard.build(), null, 2)}\n`;
}

function panelOf(plan: PanelPlan) {
  const legend = new VizLegendOptionsBuilder().showLegend(true).placement(LegendPlacement.Bottom);
  const panel = plan.number
    ? new StatBuilder()
    : new TimeseriesBuilder().fillOpacity(10).axisSoftMin(0).legend(legend);
  panel.title(plan.title).description(plan.description).unit(plan.unit).datasource(SOURCE)
    .span(PANEL_WIDTH).height(PANEL_HEIGHT);
  for (const [index, { expr, legend }] of plan.queries.entries()) {
    panel.withTarget(
      new DataqueryBuilder().refId(String.fromCharCode(65 + index)).datasource(SOURCE)
        .expr(expr).legendFormat(legend),
    );
  }
  return panel;
}

if (import.meta.main) {
  const wanted = grafanaDashboard();
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(FILE, wanted);
  } else if (await Deno.readTextFile(FILE).catch(() => "") !== wanted) {
    console.error("packaging/grafana/cairn.json is not up to date; run: deno task grafana");
    Deno.exit(1);
  }
}
