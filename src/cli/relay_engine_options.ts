/** The rows of the table of options about the engine that moves a relay's packets. */

import { UDP_ENGINES, type UdpEngine } from "../roles/relay/udp_engine.ts";
import type { ValueKind } from "./option_values.ts";
import type { OptionRow } from "./settings.ts";
import { MOST_WORKERS, MOST_WORKERS_UNASKED, workers } from "./worker_count.ts";

const udpEngine: ValueKind<UdpEngine> = {
  placeholder: "<auto|batch|portable>",
  expected: "auto, batch or portable",
  parse: (text) => UDP_ENGINES.find((engine) => engine === text),
};

const relayWorkers: ValueKind<number> = {
  ...workers,
  expected: `a whole number from 0 to ${MOST_WORKERS}`,
  parse: (text) => text === "0" ? 0 : workers.parse(text),
};

export const RELAY_ENGINE_OPTIONS = {
  relayUdpEngine: {
    flag: "--udp-engine",
    env: "CAIRN_RELAY_UDP_ENGINE",
    default: "auto",
    sentence: "What moves UDP packets: batch, many with one system call (Linux), or portable; " +
      "auto takes what there is",
    kind: udpEngine,
    commands: ["relay", "up"],
    per: { up: { flag: "--relay-udp-engine" } },
  },
  relayWorkers: {
    flag: "--workers",
    env: "CAIRN_RELAY_WORKERS",
    otherwise: `the cores, at most ${MOST_WORKERS_UNASKED}`,
    sentence:
      "Threads that serve UDP, where the engine is batch; with 0, one thread does all the " +
      "work",
    kind: relayWorkers,
    commands: ["relay", "up"],
    per: { up: { flag: "--relay-workers", default: "0" } },
  },
} as const satisfies Record<string, OptionRow<unknown>>;
