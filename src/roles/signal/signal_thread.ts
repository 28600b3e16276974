/** One thread of a signaling server that has several; `signal_workers` is the other end. */

import { systemHost } from "../../base/host.ts";
import type { ListenAddress } from "../http.ts";
import { EventLoopLag, MetricsRegistry } from "../metrics.ts";
import { type Answers, type AnyCall, runThread, startThread, ThreadCalls } from "../role_thread.ts";
import { SharedCounts } from "./address_counts.ts";
import { BusStanding } from "./bus_standing.ts";
import { type RunningSignal, startSignal } from "./run_signal.ts";
import { SIGNAL_LIMITS, type SignalOptions } from "./signal_options.ts";
import { type MeshMemory, WorkerMesh } from "./worker_mesh.ts";

/** What a thread is started with. */
export interface ThreadStart {
  readonly options: SignalOptions;
  /** From 0. */
  readonly number: number;
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
}

/** What the first thread asks of one. */
export interface SignalCalls {
  readonly start: { readonly body: ThreadStart; readonly answer: ListenAddress };
  readonly metrics: { readonly body: undefined; readonly answer: string };
  readonly reload: { readonly body: undefined; readonly answer: void };
  readonly close: { readonly body: undefined; readonly answer: void };
}

/** Another thread, which runs this file. */
export function openThread(): Worker {
  return startThread("cairn signal", import.meta.url);
}

runThread("cairn signal", (control) => {
  const calls = new ThreadCalls<SignalCalls>(control, answers());
  control.onmessage = ({ data }: MessageEvent<AnyCall<SignalCalls>>) => void calls.take(data);
});

function answers(): Answers<SignalCalls> {
  const registry = new MetricsRegistry();
  let lag: EventLoopLag | undefined;
  let mesh: WorkerMesh | undefined;
  let signal: RunningSignal | undefined;
  return {
    async start(start) {
      lag = describeLag(registry);
      mesh = openMesh(start, registry);
      signal = await startSignal(start.options, systemHost, {
        counts: openCounts(start, start.counts),
        sockets: openCounts(start, start.sockets),
        mesh,
        bus: { server: start.server, number: start.number },
        standing: start.standing && new BusStanding(start.standing, start.number),
        registry,
      });
      return signal.address;
    },
    metrics: () => registry.text(),
    reload: () => signal?.reload(),
    async close() {
      await signal?.close();
      mesh?.close();
      lag?.close();
    },
  };
}

function describeLag(registry: MetricsRegistry): EventLoopLag {
  const lag = new EventLoopLag(() => systemHost.monotonic());
  registry.gauge(
    "cairn_signal_worker_event_loop_lag_seconds",
    "Longest time that the event loop of a worker was blocked since the last scrape",
    () => lag.takeWorst(),
  );
  return lag;
}

function openMesh(start: ThreadStart, registry: MetricsRegistry): WorkerMesh {
  const dropped = registry.counter(
    "cairn_signal_worker_dropped_total",
    "Relays that a worker which lagged behind did not get",
  );
  return new WorkerMesh({
    memory: start.mesh,
    self: start.number,
    ports: start.ports,
    seed: start.seed,
    onDropped: () => dropped.add(),
  });
}

function openCounts({ options, seed }: ThreadStart, memory: SharedArrayBuffer): SharedCounts {
  const { connectionsPerMinute } = { ...SIGNAL_LIMITS, ...options.limits };
  return new SharedCounts({
    memory,
    attemptsPerMinute: connectionsPerMinute,
    seed,
    now: () => systemHost.now(),
  });
}
