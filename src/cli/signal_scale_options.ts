/** The rows of the table of options about more than one thread, or machine, of a signaling server. */

import { type BusServers, parseBusServers } from "../roles/signal/bus_access.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";
import { workers } from "./worker_count.ts";

const busServers: value.ValueKind<BusServers> = {
  placeholder: "<urls>",
  expected: "nats:// or tls:// addresses separated by commas, as in nats://nats.example.com:4222",
  parse: parseBusServers,
};

export const SIGNAL_SCALE_OPTIONS = {
  signalWorkers: {
    flag: "--workers",
    env: "CAIRN_SIGNAL_WORKERS",
    default: "1",
    sentence: "Threads that share the port and the work",
    kind: workers,
    commands: ["signal"],
  },
  signalBus: {
    flag: "--bus",
    env: "CAIRN_SIGNAL_BUS",
    otherwise: "none",
    sentence: "NATS servers that join this signaling server with others behind the same name; " +
      "a user and password, or a token, stand in front of the host",
    kind: busServers,
    secret: true,
    commands: ["signal"],
  },
  signalBusCredentials: {
    flag: "--bus-credentials",
    env: "CAIRN_SIGNAL_BUS_CREDENTIALS",
    otherwise: "none",
    sentence: "File with a JWT and its key for the bus, as nsc writes it (.creds)",
    kind: value.path,
    commands: ["signal"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
