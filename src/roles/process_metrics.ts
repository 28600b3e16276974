import type { Host } from "../base/host.ts";
import { VERSION } from "../version.ts";
import { EventLoopLag, type MetricsRegistry } from "./metrics.ts";

/**
 * Adds what every role tells of its process, under names that begin with `prefix`, as in
 * `cairn_signal`. The time since the start counts from this call.
 */
export function describeProcess(
  registry: MetricsRegistry,
  prefix: string,
  host: Host,
): Disposable {
  const startedAt = host.monotonic();
  const lag = new EventLoopLag(() => host.monotonic());
  registry.gauge(
    `${prefix}_event_loop_lag_seconds`,
    "Longest time that the event loop was blocked since the last scrape",
    () => lag.takeWorst(),
  );
  registry.gauge(
    `${prefix}_resident_memory_bytes`,
    "Memory of the process",
    () => Deno.memoryUsage().rss,
  );
  registry.gauge(
    `${prefix}_uptime_seconds`,
    "Time since the start",
    () => (host.monotonic() - startedAt) / 1000,
  );
  registry.readings(
    `${prefix}_build_info`,
    "Always 1; the label tells which cairn runs",
    "gauge",
    "version",
    () => [[VERSION, 1]],
  );
  return { [Symbol.dispose]: () => lag.close() };
}
