import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { ORIGIN_LENGTH } from "../../protocol/signal/bus_message.ts";
import { serveMetrics } from "../health_pages.ts";
import { formatListenAddress } from "../http.ts";
import { mergeMetrics } from "../merged_metrics.ts";
import { MetricsRegistry } from "../metrics.ts";
import { RoleThread } from "../role_thread.ts";
import { lowestLevel } from "../thread_log.ts";
import { SharedCounts } from "./address_counts.ts";
import type { RunningSignal } from "./run_signal.ts";
import { SIGNAL_LIMITS, type SignalLimits, type SignalOptions } from "./signal_options.ts";
import { openThread, type SignalCalls } from "./signal_thread.ts";
import { meshMemory } from "./worker_mesh.ts";

const log = getLogger(["cairn", "signal"]);

/**
 * Starts a signaling server of `workers` threads that listen on one port; the system spreads
 * connections over them, and a topic's listeners meet wherever they are.
 *
 * @throws {CairnError} as {@linkcode startSignal} does, and when it is to take a socket over.
 */
export async function startSignalWorkers(
  options: SignalOptions,
  workers: number,
  host: Host = systemHost,
): Promise<RunningSignal> {
  if (options.listenFd !== undefined) {
    throw new CairnError(
      "invalid-option",
      "An inherited socket cannot be shared by several threads: leave --workers " +
        "(CAIRN_SIGNAL_WORKERS) at 1, or let the server listen by itself",
    );
  }
  const { metricsAddr, ...others } = options;
  const numbers = Array.from({ length: workers }, (_, number) => number);
  const ports = mesh(numbers);
  const shared = {
    mesh: meshMemory(workers),
    counts: SharedCounts.memory(),
    server: host.random(ORIGIN_LENGTH - 1),
    seed: new DataView(host.random(4).buffer).getInt32(0),
  };
  await using started = new AsyncDisposableStack();
  // Those that no thread has got, since one before it failed.
  started.defer(() => ports.forEach((ends) => ends.forEach((port) => port.close())));
  const limits = shareOf({ ...SIGNAL_LIMITS, ...options.limits }, workers);
  const level = lowestLevel("signal");
  const threads: RoleThread<SignalCalls>[] = [];
  const open = async (number: number, listenAddr: string) => {
    const links = ports[number] ?? new Map<number, MessagePort>();
    const own = { number, ports: links, options: { ...others, listenAddr, limits } };
    const thread = started.use(new RoleThread<SignalCalls>(openThread(), level));
    threads.push(thread);
    return await thread.call("start", { ...shared, ...own }, [...links.values()]);
  };
  // The first one finds out which port it is.
  const address = await open(0, options.listenAddr);
  const shareAddress = formatListenAddress(address);
  await Promise.all(numbers.slice(1).map((number) => open(number, shareAddress)));
  let isDraining = false;
  const scraped = metricsAddr === undefined ? undefined : started.use(
    await serveMetrics({
      address: metricsAddr,
      option: "--metrics-addr (CAIRN_SIGNAL_METRICS_ADDR)",
      prefix: "cairn_signal",
      registry: new MetricsRegistry(),
      more: async () =>
        mergeMetrics(await Promise.all(threads.map((thread) => thread.call("metrics", undefined)))),
      unreadiness: () => isDraining ? "draining" : undefined,
      host,
    }),
  );
  if (scraped) log.info("Metrics are served on port {port}", { port: scraped.address.port });
  log.info("{workers} threads share port {port}", { workers, port: address.port });
  const running = started.move();
  let closing: Promise<void> | undefined;
  const end = async () => {
    isDraining = true;
    await Promise.all(threads.map((thread) => thread.call("close", undefined)));
    await running.disposeAsync();
  };
  return {
    address,
    metricsAddress: scraped?.address,
    reload: () => threads.forEach((thread) => void thread.call("reload", undefined)),
    close: () => closing ??= end(),
  };
}

/** What is kept by each thread on its own is divided among them. */
function shareOf(limits: SignalLimits, workers: number): SignalLimits {
  const part = (limit: number) => Math.max(1, Math.floor(limit / workers));
  return {
    ...limits,
    maxRecords: part(limits.maxRecords),
    maxRecordBytes: part(limits.maxRecordBytes),
    recordsPerAddress: part(limits.recordsPerAddress),
  };
}

/** A channel between any two; for each number its ends. */
function mesh(numbers: readonly number[]): Map<number, MessagePort>[] {
  const ports = numbers.map(() => new Map<number, MessagePort>());
  for (const one of numbers) {
    for (const other of numbers.slice(one + 1)) {
      const { port1, port2 } = new MessageChannel();
      ports[one]?.set(other, port1);
      ports[other]?.set(one, port2);
    }
  }
  return ports;
}
