/** One thread of a signaling server that has several; `signal_workers` is the other end. */

import { configureSync, type LogLevel, type LogRecord } from "@logtape/logtape";
import { CairnError, type CairnErrorCode } from "../../base/errors.ts";
import { systemHost } from "../../base/host.ts";
import type { ListenAddress } from "../http.ts";
import { EventLoopLag, MetricsRegistry } from "../metrics.ts";
import { SharedCounts } from "./address_counts.ts";
import { BusStanding } from "./bus_standing.ts";
import { type RunningSignal, startSignal } from "./run_signal.ts";
import { SIGNAL_LIMITS, type SignalOptions } from "./signal_options.ts";
import { isSignalThread, THREAD_NAME } from "./thread_name.ts";
import { type MeshMemory, WorkerMesh } from "./worker_mesh.ts";

/** What a thread is started with. */
export interface ThreadStart {
  readonly options: SignalOptions;
  /** From 0. */
  readonly number: number;
  readonly control: MessagePort;
  readonly ports: ReadonlyMap<number, MessagePort>;
  readonly mesh: MeshMemory;
  /** See {@linkcode SharedCounts}: of those that are let in, and of all TCP connections. */
  readonly counts: SharedArrayBuffer;
  readonly sockets: SharedArrayBuffer;
  /** See {@linkcode BusStanding}; without a bus there is none. */
  readonly standing: SharedArrayBuffer | undefined;
  /** Chance that the threads have in common: what tells this server from others, and the seed. */
  readonly server: Uint8Array;
  readonly seed: number;
  /** The log takes nothing below; `undefined` when it takes nothing. */
  readonly lowestLevel: LogLevel | undefined;
}

export type ToThread =
  | { readonly kind: "reload" | "close" }
  | { readonly kind: "metrics"; readonly id: number };

export type FromThread =
  | { readonly kind: "started"; readonly address: ListenAddress }
  | { readonly kind: "failed"; readonly code: CairnErrorCode; readonly message: string }
  | { readonly kind: "metrics"; readonly id: number; readonly text: string }
  | { readonly kind: "closed" }
  | {
    readonly kind: "log";
    readonly category: readonly string[];
    readonly level: LogLevel;
    readonly message: string;
    readonly properties: Readonly<Record<string, unknown>>;
  };

/** This file in a bundle is the whole program, whose first lines lead here by the name. */
export function openThread(): Worker {
  return new Worker(import.meta.url, { type: "module", name: THREAD_NAME });
}

if (isSignalThread()) {
  addEventListener("message", (event) => {
    if (event instanceof MessageEvent) void serve(event.data);
  }, { once: true });
}

async function serve(start: ThreadStart): Promise<void> {
  const { control, ports, options, number } = start;
  const say = (message: FromThread) => control.postMessage(message);
  forwardLog(start, say);
  const limits = { ...SIGNAL_LIMITS, ...options.limits };
  const registry = new MetricsRegistry();
  const lag = new EventLoopLag(() => systemHost.monotonic());
  registry.gauge(
    "cairn_signal_worker_event_loop_lag_seconds",
    "Longest time that the event loop of a worker was blocked since the last scrape",
    () => lag.takeWorst(),
  );
  const dropped = registry.counter(
    "cairn_signal_worker_dropped_total",
    "Relays that a worker which lagged behind did not get",
  );
  const mesh = new WorkerMesh({
    memory: start.mesh,
    self: number,
    ports,
    seed: start.seed,
    onDropped: () => dropped.add(),
  });
  const countsIn = (memory: SharedArrayBuffer) =>
    new SharedCounts({
      memory,
      attemptsPerMinute: limits.connectionsPerMinute,
      seed: start.seed,
      now: () => systemHost.now(),
    });
  let signal: RunningSignal;
  try {
    const bus = { server: start.server, number };
    const standing = start.standing && new BusStanding(start.standing, number);
    const counts = countsIn(start.counts);
    const sockets = countsIn(start.sockets);
    const thread = { counts, sockets, mesh, bus, standing, registry };
    signal = await startSignal(options, systemHost, thread);
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    return say({ kind: "failed", code: error.code, message: error.message });
  }
  control.onmessage = async ({ data }: MessageEvent<ToThread>) => {
    switch (data.kind) {
      case "reload":
        return signal.reload();
      case "metrics":
        return say({ kind: "metrics", id: data.id, text: registry.text() });
      case "close":
        await signal.close();
        mesh.close();
        lag.close();
        say({ kind: "closed" });
    }
  };
  say({ kind: "started", address: signal.address });
}

/** The program's log is written by its first thread. */
function forwardLog({ lowestLevel }: ThreadStart, say: (message: FromThread) => void): void {
  if (lowestLevel === undefined) return;
  const sink = ({ category, level, rawMessage, properties }: LogRecord) => {
    const message = typeof rawMessage === "string" ? rawMessage : rawMessage.join("");
    say({ kind: "log", category, level, message, properties });
  };
  configureSync({
    sinks: { sink },
    loggers: [
      { category: ["cairn"], lowestLevel, sinks: ["sink"] },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
}
