/** The rows of the table of options that bound what a signaling server takes. */

import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

/** A row for `cairn signal`, which `cairn up` has with `--signal-` in front. */
function row<T, const D extends string>(
  name: string,
  fallback: D,
  kind: value.ValueKind<T>,
  sentence: string,
) {
  return {
    flag: `--${name}`,
    env: `CAIRN_SIGNAL_${name.toUpperCase().replaceAll("-", "_")}`,
    default: fallback,
    sentence,
    kind,
    commands: ["signal", "up"],
    per: { up: { flag: `--signal-${name}` } },
  } as const satisfies OptionRow<T>;
}

export const SIGNAL_LIMIT_OPTIONS = {
  signalMaxFrame: row(
    "max-frame",
    "64KB",
    value.size,
    "Longest message; a longer one closes its connection",
  ),
  signalTopicsPerConnection: row(
    "topics-per-connection",
    "1024",
    value.count,
    "Most topics that one connection listens to",
  ),
  signalConnectionsPerTopic: row(
    "connections-per-topic",
    "256",
    value.count,
    "Most connections that listen to one topic",
  ),
  signalConnectionsPerAddress: row(
    "connections-per-address",
    "128",
    value.count,
    "Most connections of one IPv4 address or IPv6 /64",
  ),
  signalConnectionRate: row(
    "connection-rate",
    "120",
    value.count,
    "New connections a minute from one IPv4 address or IPv6 /64",
  ),
  signalMaxConnections: row("max-connections", "16384", value.count, "Most connections in all"),
  signalMessageRate: row(
    "message-rate",
    "100",
    value.count,
    "Messages a second of one connection; 20 seconds' worth may come at once",
  ),
  signalByteRate: row(
    "byte-rate",
    "128KB",
    value.size,
    "Bytes a second of one connection; 20 seconds' worth may come at once",
  ),
  signalMaxBuffered: row(
    "max-buffered",
    "256KB",
    value.size,
    "Most bytes that wait for a slow reader, before it is dropped",
  ),
  signalPingInterval: row(
    "ping-interval",
    "25s",
    value.duration,
    "Between pings; two without an answer end the connection",
  ),
  signalHandshakeTimeout: row(
    "handshake-timeout",
    "10s",
    value.duration,
    "For the TLS handshake, and again for the request",
  ),
  signalErrorBudget: row(
    "error-budget",
    "16",
    value.count,
    "Mistakes after which a connection is closed; one is forgiven each minute",
  ),
  signalMaxRecords: row("max-records", "10000", value.count, "Most records of JSON clients"),
  signalMaxRecordBytes: row(
    "max-record-bytes",
    "16MB",
    value.size,
    "Most memory for records of JSON clients",
  ),
  signalRecordsPerAddress: row(
    "records-per-address",
    "1000",
    value.count,
    "Most records of one IPv4 address or IPv6 /64, which may fill the same share of the memory",
  ),
  signalRecordTtl: row(
    "record-ttl",
    "5m",
    value.durationOrZero,
    "How long a record of a JSON client is kept; 0 keeps none",
  ),
  signalDrainTime: row(
    "drain-time",
    "5s",
    value.durationOrZero,
    "Over how long the closing of connections is spread when the server ends",
  ),
} as const satisfies Record<string, OptionRow<unknown>>;
