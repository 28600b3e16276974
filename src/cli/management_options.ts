/** The rows of the table of options about the management REST API, and how its verbs find it. */

import { SERVER, SERVER_QUESTIONS, SERVER_VERBS } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { CommandName, OptionRow } from "./settings.ts";

/** What they print is one thing, or has a form of its own. */
const WITHOUT_JSON = new Set<CommandName>(["server id", "server backup", "server export"]);

export const MANAGEMENT_OPTIONS = {
  mgmtEnabled: {
    flag: "--mgmt-enabled",
    env: "CAIRN_MGMT_ENABLED",
    default: "true",
    sentence: "Serve the management REST API",
    kind: value.boolean,
    commands: SERVER,
  },
  mgmtToken: {
    flag: "--mgmt-token",
    env: "CAIRN_MGMT_TOKEN",
    otherwise: "made at the first start, in mgmt_token in the data folder",
    sentence: "Bearer token for the management REST API",
    kind: value.token,
    secret: true,
    essential: true,
    commands: SERVER_VERBS,
  },
  mgmtBind: {
    flag: "--mgmt-bind",
    env: "CAIRN_MGMT_BIND",
    default: "127.0.0.1",
    sentence: "Address that the management REST API listens on",
    kind: value.host,
    commands: SERVER_VERBS,
  },
  mgmtPort: {
    flag: "--mgmt-port",
    env: "CAIRN_MGMT_PORT",
    default: "9090",
    sentence: "Port of the management REST API",
    kind: value.port,
    essential: true,
    commands: SERVER_VERBS,
  },
  mgmtUrl: {
    flag: "--mgmt-url",
    env: "CAIRN_MGMT_URL",
    otherwise: "http:// at the address and port of the management REST API",
    sentence: "Where the running server is asked, when it has TLS or is on another machine",
    kind: value.webUrl,
    commands: SERVER_QUESTIONS,
  },
  mgmtMetricsPerPeer: {
    flag: "--mgmt-metrics-per-peer",
    env: "CAIRN_MGMT_METRICS_PER_PEER",
    default: "false",
    sentence: "Name every paired peer in /metrics, with what waits for it",
    kind: value.flagOnly,
    commands: SERVER,
  },
  serverJson: {
    flag: "--json",
    env: "CAIRN_SERVER_JSON",
    default: "false",
    sentence: "Print JSON",
    kind: value.flagOnly,
    essential: true,
    commands: SERVER_QUESTIONS.filter((name) => !WITHOUT_JSON.has(name)),
  },
  mgmtHosts: {
    flag: "--mgmt-hosts",
    env: "CAIRN_MGMT_HOSTS",
    otherwise: "localhost and IP addresses",
    sentence: "Further host names under which the management REST API may be asked",
    kind: value.hostNames,
    commands: SERVER,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
