import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { ORIGIN_LENGTH } from "../../protocol/signal/bus_message.ts";
import { serveMetrics } from "../health_pages.ts";
import {
  formatListenAddress,
  type ListenAddress,
  listenError,
  parseListenAddress,
} from "../http.ts";
import { mergeMetrics } from "../merged_metrics.ts";
import { MetricsRegistry } from "../metrics.ts";
import { RoleThread } from "../role_thread.ts";
import { lowestLevel } from "../thread_log.ts";
import { SharedCounts } from "./address_counts.ts";
import { BusStanding } from "./bus_standing.ts";
import { DRAIN_TIME, type RunningSignal } from "./run_signal.ts";
import { SIGNAL_LIMITS, type SignalLimits, type SignalOptions } from "./signal_options.ts";
import { openThread, type SignalCalls } from "./signal_thread.ts";
import { meshMemory } from "./worker_mesh.ts";

const log = getLogger(["cairn", "signal"]);
const OPTION = "--listen-addr (CAIRN_SIGNAL_LISTEN_ADDR)";
/** Milliseconds after which the metrics go without a thread that is too busy to tell its own. */
const METRICS_PATIENCE = 2_000;
/** Milliseconds, beside the drain, after which a thread that does not end is ended. */
const CLOSE_PATIENCE = 5_000;

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
  open: () => Worker = openThread,
): Promise<RunningSignal> {
  if (options.listenFd !== undefined) {
    throw new CairnError(
      "invalid-option",
      "An inherited socket cannot be shared by several threads: leave --workers " +
        "(CAIRN_SIGNAL_WORKERS) at 1, or let the server listen by itself",
    );
  }
  refuseTaken(parseListenAddress(options.listenAddr));
  const { metricsAddr, drainTime = DRAIN_TIME, ...others } = options;
  const numbers = Array.from({ length: workers }, (_, number) => number);
  const ports = mesh(numbers);
  const shared = {
    mesh: meshMemory(workers),
    counts: SharedCounts.memory(),
    sockets: SharedCounts.memory(),
    standing: options.bus && BusStanding.memory(workers),
    server: host.random(ORIGIN_LENGTH - 1),
    seed: new DataView(host.random(4).buffer).getInt32(0),
  };
  await using started = new AsyncDisposableStack();
  // Those that no thread has got, since one before it failed.
  started.defer(() => ports.forEach((ends) => ends.forEach((port) => port.close())));
  const limits = shareOf({ ...SIGNAL_LIMITS, ...options.limits }, workers);
  const level = lowestLevel("signal");
  const threads: SignalThread[] = [];
  const begin = async (number: number, listenAddr: string) => {
    const links = ports[number] ?? new Map<number, MessagePort>();
    const own = { number, ports: links, options: { ...others, drainTime, listenAddr, limits } };
    const thread = started.use(new SignalThread(open(), level));
    threads.push(thread);
    return await thread.call("start", { ...shared, ...own }, [...links.values()]);
  };
  // The first one finds out which port it is.
  const address = await begin(0, options.listenAddr);
  const shareAddress = formatListenAddress(address);
  await Promise.all(numbers.slice(1).map((number) => begin(number, shareAddress)));
  for (const thread of threads) thread.watch();
  let isDraining = false;
  const standing = shared.standing && new BusStanding(shared.standing);
  const scraped = metricsAddr === undefined ? undefined : started.use(
    await serveMetrics({
      address: metricsAddr,
      option: "--metrics-addr (CAIRN_SIGNAL_METRICS_ADDR)",
      prefix: "cairn_signal",
      registry: new MetricsRegistry(),
      more: async () => mergeMetrics(await Promise.all(threads.map((thread) => thread.metrics()))),
      unreadiness: () => isDraining ? "draining" : standing?.unreadiness,
      host,
    }),
  );
  if (scraped) log.info("Metrics are served on port {port}", { port: scraped.address.port });
  log.info("{workers} threads share port {port}", { workers, port: address.port });
  const running = started.move();
  let closing: Promise<void> | undefined;
  const end = async () => {
    isDraining = true;
    await Promise.all(threads.map((thread) => thread.close(drainTime + CLOSE_PATIENCE)));
    await running.disposeAsync();
  };
  return {
    address,
    metricsAddress: scraped?.address,
    reload: () => threads.forEach((thread) => void thread.call("reload", undefined)),
    close: () => closing ??= end(),
  };
}

/**
 * Threads of another process may share a port as well, but no topics: clients would not meet.
 *
 * @throws {CairnError} `address-in-use`.
 */
function refuseTaken({ host, port }: ListenAddress): void {
  if (port === 0) return;
  try {
    Deno.listen({ hostname: host, port }).close();
  } catch (error) {
    // Of anything else the first thread tells.
    if (error instanceof Deno.errors.AddrInUse) {
      throw listenError(error, { host, port, option: OPTION });
    }
  }
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

/** A thread as the first one sees it. */
class SignalThread extends RoleThread<SignalCalls> {
  #lastMetrics = "";

  /** Its metrics; where it does not tell them in time, those that it told last. */
  async metrics(): Promise<string> {
    return this.#lastMetrics = await this.callWithin(METRICS_PATIENCE, "metrics", undefined) ??
      this.#lastMetrics;
  }

  /** Resolves when it has closed its connections, at the latest after `patience` milliseconds. */
  async close(patience: number): Promise<void> {
    await this.callWithin(patience, "close", undefined);
  }
}
