/** What Grafana's dashboard of cairn shows: rows of panels, and what each asks Prometheus. */

export interface PanelPlan {
  readonly title: string;
  /** For who hovers over the title. */
  readonly description: string;
  /** A unit of Grafana. */
  readonly unit: "short" | "bytes" | "Bps" | "s" | "ops" | "percentunit";
  /** A number, where the last value is all that matters; else a plot over time. */
  readonly number?: true;
  readonly queries: readonly Query[];
}

export interface Query {
  readonly expr: string;
  /** `{{label}}` stands for a label's value. */
  readonly legend: string;
}

export interface RowPlan {
  readonly title: string;
  readonly panels: readonly PanelPlan[];
}

const CHOSEN = `{instance=~"$instance"}`;

/** The metric itself, for each of the chosen instances. */
function value(name: string, legend = "{{instance}}"): Query {
  return { expr: name + CHOSEN, legend };
}

/** How fast a counter grows; zero rates are left out where `by` tells many apart. */
function rate(name: string, by?: string): Query {
  const each = `rate(${name}${CHOSEN}[$__rate_interval])`;
  return by === undefined
    ? { expr: `sum by (instance) (${each})`, legend: "{{instance}}" }
    : { expr: `sum by (${by}) (${each}) > 0`, legend: `{{${by}}}` };
}

/** Part of a limit, from 0 to 1. */
function share(part: string, whole: string, legend = "{{instance}}"): Query {
  return { expr: `${part}${CHOSEN} / ${whole}${CHOSEN}`, legend };
}

function quantile(of: number, name: string): Query {
  const each = `rate(${name}_bucket${CHOSEN}[$__rate_interval])`;
  return { expr: `histogram_quantile(${of}, sum by (le) (${each}))`, legend: `${of * 100} %` };
}

const ROLES = ["server", "signal", "relay"] as const;

/** The same number of each role, of which not every home runs all. */
function ofEachRole(name: string): Query[] {
  return ROLES.map((role) => value(`cairn_${role}_${name}`, `${role} {{instance}}`));
}

export const ROWS: readonly RowPlan[] = [
  {
    title: "All roles",
    panels: [
      {
        title: "Running since",
        description: "Gaps and falls are restarts.",
        unit: "s",
        queries: ofEachRole("uptime_seconds"),
      },
      {
        title: "Event loop blocked",
        description:
          "Longest time in which a process did nothing else. Above 0.1 s it is too busy.",
        unit: "s",
        queries: ofEachRole("event_loop_lag_seconds"),
      },
      {
        title: "Memory",
        description: "Resident memory of each process.",
        unit: "bytes",
        queries: ofEachRole("resident_memory_bytes"),
      },
      {
        title: "Certificates end in",
        description: "Only where a role serves TLS itself.",
        unit: "s",
        number: true,
        queries: ROLES.map((role) => ({
          expr: `cairn_${role}_certificate_end_timestamp_seconds${CHOSEN} - time()`,
          legend: `${role} {{instance}}`,
        })),
      },
    ],
  },
  {
    title: "Server: mailbox",
    panels: [
      {
        title: "Messages that wait",
        description: "For peers that are away, of all peers together.",
        unit: "short",
        queries: [value("cairn_server_waiting_messages")],
      },
      {
        title: "Share of the mailbox in use",
        description: "At 1 the server refuses messages, which then wait with their senders.",
        unit: "percentunit",
        queries: [share("cairn_server_waiting_bytes", "cairn_server_waiting_bytes_limit")],
      },
      {
        title: "Messages accepted",
        description: "Messages that the mailbox took in and put on disk.",
        unit: "ops",
        queries: [rate("cairn_server_messages_accepted_total")],
      },
      {
        title: "Bytes accepted",
        description: "Bytes of their encrypted bodies.",
        unit: "Bps",
        queries: [rate("cairn_server_message_bytes_accepted_total")],
      },
      {
        title: "How messages end",
        description: "Delivered is good; what expired or was purged, its sender was told of.",
        unit: "ops",
        queries: [rate("cairn_server_messages_ended_total", "outcome")],
      },
      {
        title: "Messages refused",
        description: "By reason. Senders keep what was refused and try again.",
        unit: "ops",
        queries: [rate("cairn_server_messages_refused_total", "reason")],
      },
      {
        title: "Commits to the disk",
        description: "How long it takes until accepted messages are on disk.",
        unit: "s",
        queries: [
          quantile(0.5, "cairn_server_commit_seconds"),
          quantile(0.99, "cairn_server_commit_seconds"),
        ],
      },
      {
        title: "Commits that failed",
        description: "As on a full disk: nothing that failed was accepted.",
        unit: "ops",
        queries: [rate("cairn_server_commits_failed_total")],
      },
      {
        title: "Room on the disk",
        description: "Below 16 MiB the server takes nothing in.",
        unit: "bytes",
        queries: [value("cairn_server_disk_free_bytes")],
      },
    ],
  },
  {
    title: "Server: links, personal relay, management",
    panels: [
      {
        title: "Peers",
        description: "Paired, and of these connected.",
        unit: "short",
        queries: [
          value("cairn_server_paired_peers", "paired"),
          value("cairn_server_connected_peers", "connected"),
          value("cairn_server_links", "links"),
        ],
      },
      {
        title: "Handshakes",
        description: "Strangers are peers that want to pair, or probes.",
        unit: "ops",
        queries: [rate("cairn_server_handshakes_total", "outcome")],
      },
      {
        title: "Signaling servers connected",
        description: "At 0 no peer finds this server by signaling.",
        unit: "short",
        queries: [
          value("cairn_server_signal_servers_connected", "connected"),
          value("cairn_server_signal_servers", "named in the settings"),
        ],
      },
      {
        title: "Personal relay: pairs",
        description: "At the limit, messages of further pairs go by the mailbox.",
        unit: "short",
        queries: [
          value("cairn_server_relay_pairs", "pairs"),
          value("cairn_server_relay_pairs_limit", "limit"),
        ],
      },
      {
        title: "Personal relay: traffic",
        description: "What went between peers that are online at the same time.",
        unit: "Bps",
        queries: [rate("cairn_server_relayed_bytes_total")],
      },
      {
        title: "Requests to the management API",
        description: "By the status of the answer.",
        unit: "ops",
        queries: [
          rate("cairn_server_management_requests_total", "status"),
          { ...rate("cairn_server_wrong_tokens_total"), legend: "wrong tokens" },
        ],
      },
      {
        title: "Peers that wait for approval",
        description: "Approve or refuse them on the dashboard of the server.",
        unit: "short",
        number: true,
        queries: [value("cairn_server_pairing_requests")],
      },
      {
        title: "Listeners to events",
        description: "Dashboards and programs at the event stream.",
        unit: "short",
        queries: [
          value("cairn_server_event_listeners", "listeners"),
          { ...rate("cairn_server_event_listeners_dropped_total"), legend: "dropped per second" },
        ],
      },
    ],
  },
  {
    title: "Server: backups",
    panels: [
      {
        title: "Age of the latest backup",
        description: "Empty where the server takes none by itself (CAIRN_BACKUP_DIR).",
        unit: "s",
        number: true,
        queries: [{
          expr: `time() - cairn_server_backup_last_timestamp_seconds${CHOSEN}`,
          legend: "{{instance}}",
        }],
      },
      {
        title: "Size of the latest backup",
        description: "As it lies in the folder, encrypted.",
        unit: "bytes",
        number: true,
        queries: [value("cairn_server_backup_last_bytes")],
      },
      {
        title: "Backups",
        description: "Made and failed, in the last day.",
        unit: "short",
        queries: [{
          expr: `sum by (outcome) (increase(cairn_server_backups_total${CHOSEN}[1d]))`,
          legend: "{{outcome}}",
        }],
      },
    ],
  },
  {
    title: "Signaling server",
    panels: [
      {
        title: "Connections",
        description: "Open WebSocket connections.",
        unit: "short",
        queries: [value("cairn_signal_connections")],
      },
      {
        title: "Topics and records",
        description: "Held in memory, for as long as somebody listens or a record lives.",
        unit: "short",
        queries: [
          value("cairn_signal_topics", "topics"),
          value("cairn_signal_records", "records"),
        ],
      },
      {
        title: "Messages",
        description: "By kind, and what was handed to listeners.",
        unit: "ops",
        queries: [
          rate("cairn_signal_messages_total", "kind"),
          { ...rate("cairn_signal_deliveries_total"), legend: "handed to listeners" },
        ],
      },
      {
        title: "Connections let in and refused",
        description: "Refused by reason: a reason that grows names the limit that is reached.",
        unit: "ops",
        queries: [
          { ...rate("cairn_signal_accepted_total"), legend: "let in" },
          rate("cairn_signal_refused_total", "reason"),
        ],
      },
      {
        title: "Connections ended, messages dropped",
        description: "By reason, for what clients did or failed to do.",
        unit: "ops",
        queries: [
          rate("cairn_signal_ended_total", "reason"),
          rate("cairn_signal_dropped_total", "reason"),
        ],
      },
    ],
  },
  {
    title: "TURN relay",
    panels: [
      {
        title: "Allocations",
        description: "Open now, with the TCP and TLS connections of clients.",
        unit: "short",
        queries: [
          value("cairn_relay_allocations", "allocations"),
          value("cairn_relay_connections", "connections"),
        ],
      },
      {
        title: "Relay ports",
        description: "With none free, nobody gets an allocation.",
        unit: "short",
        queries: [
          value("cairn_relay_relay_ports", "open"),
          value("cairn_relay_relay_ports_free", "free"),
        ],
      },
      {
        title: "Traffic relayed",
        description: "Payload, by direction.",
        unit: "Bps",
        queries: [rate("cairn_relay_relayed_bytes_total", "direction")],
      },
      {
        title: "Packets relayed",
        description: "By direction; hairpinned ones went straight from client to client.",
        unit: "ops",
        queries: [
          rate("cairn_relay_relayed_packets_total", "direction"),
          { ...rate("cairn_relay_hairpinned_packets_total"), legend: "hairpinned" },
        ],
      },
      {
        title: "Packets dropped",
        description: "By reason: why packets do not arrive.",
        unit: "ops",
        queries: [rate("cairn_relay_dropped_total", "reason")],
      },
      {
        title: "Requests",
        description: "Granted, and error responses by code; 401 begins every good conversation.",
        unit: "ops",
        queries: [
          { ...rate("cairn_relay_allocated_total"), legend: "allocations" },
          { ...rate("cairn_relay_bindings_total"), legend: "bindings" },
          rate("cairn_relay_errors_total", "code"),
        ],
      },
    ],
  },
];
