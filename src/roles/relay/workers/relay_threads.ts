import { getLogger } from "@logtape/logtape";
import { type Host, monotonicOrigin } from "../../../base/host.ts";
import { formatListenAddress, type ListenAddress } from "../../http.ts";
import { RoleThread } from "../../role_thread.ts";
import { lowestLevel } from "../../thread_log.ts";
import { addressesToListen, type MachineAddresses } from "../relay_addresses.ts";
import type { RelayPlan, RelayRules } from "../relay_core.ts";
import type { SocketShelf } from "../turn_driver.ts";
import type { DatagramSockets } from "../datagram_sockets.ts";
import { BatchDatagramSockets } from "../udp_batch/batch_sockets.ts";
import { type BoundSocket, listenFailure, type UdpListeners } from "../udp_clients.ts";
import { Ledger, type LedgerMemory, ledgerMemory } from "./ledger.ts";
import { openThread, type RelayCalls } from "./relay_thread.ts";
import { SharedShelf } from "./shelf.ts";

const log = getLogger(["cairn", "relay"]);

/** Milliseconds after which the metrics go without a thread that is too busy to tell its own. */
const METRICS_PATIENCE = 8_000;
/** Milliseconds after which a thread that does not drain or close is left as it is, or ended. */
const CLOSE_PATIENCE = 5_000;

/** A thread as the first one sees it. */
class RelayThread extends RoleThread<RelayCalls> {
  readonly #bell = this.call("load", undefined);
  #lastMetrics = "";

  /** Resolves when it waits for messages, of which `ring` tells. @throws {Error} when it has failed. */
  async whenLoaded(ring: (bell: number) => void): Promise<void> {
    const { onFailure } = this;
    const failed = Promise.withResolvers<never>();
    this.onFailure = failed.reject;
    const bell = await Promise.race([this.#bell, failed.promise]);
    this.onFailure = onFailure;
    this.wake = () => ring(bell);
  }

  /** Its metrics; where it does not tell them in time, those that it told last. */
  async metrics(): Promise<string> {
    return this.#lastMetrics = await this.callWithin(METRICS_PATIENCE, "metrics", undefined) ??
      this.#lastMetrics;
  }

  async close(): Promise<void> {
    const closed = this.callWithin(CLOSE_PATIENCE, "close", undefined);
    this.wake = () => {};
    await closed;
    this[Symbol.dispose]();
  }
}

/** The threads that serve clients over UDP, beside the first one, which serves all others. */
export class RelayThreads implements AsyncDisposable {
  readonly #threads: readonly RelayThread[];
  readonly #sockets: BatchDatagramSockets;
  /** Of each thread, until it has them. */
  #bound: readonly BoundSocket[][];
  #memory: LedgerMemory | undefined;

  private constructor(threads: readonly RelayThread[], sockets: BatchDatagramSockets) {
    this.#threads = threads;
    this.#sockets = sockets;
    this.#bound = threads.map(() => []);
  }

  /**
   * Opens `count` of them; with none, with `sockets` that no others can share, or where one cannot be
   * started, which it says, the first thread does everything. Afterwards FFI is not needed any more.
   */
  static async open(
    sockets: DatagramSockets,
    count: number,
    openWorker = openThread,
  ): Promise<RelayThreads | undefined> {
    if (count === 0) return undefined;
    if (!(sockets instanceof BatchDatagramSockets)) {
      if (count > 1) log.info("One thread does all the work: workers need the batching UDP engine");
      return undefined;
    }
    const level = lowestLevel("relay");
    const threads: RelayThread[] = [];
    try {
      while (threads.length < count) threads.push(new RelayThread(openWorker(), level));
      await Promise.all(threads.map((thread) => thread.whenLoaded((bell) => sockets.ring(bell))));
      return new RelayThreads(threads, sockets);
    } catch (error) {
      for (const thread of threads) thread[Symbol.dispose]();
      const reason = error instanceof Error ? error.message : String(error);
      log.warn("One thread does all the work, as no others can be started: {reason}", { reason });
      return undefined;
    }
  }

  get count(): number {
    return this.#threads.length;
  }

  /** What the first thread shares with these. */
  share(plan: RelayPlan, host: Host): { readonly siblings: Ledger; readonly shelf: SocketShelf } {
    const { settings, addresses } = plan;
    const memory = this.#memory = ledgerMemory(settings, this.count + 1, host);
    const siblings = new Ledger({ memory, self: 0, settings, bound: addresses.bound, host });
    return { siblings, shelf: new SharedShelf(siblings, this.#sockets) };
  }

  /**
   * Binds an address, or for a wildcard every address of the machine, for all threads before any of
   * them serves it: with each socket more, the kernel would give clients to another thread.
   *
   * @throws {CairnError} when one of them cannot be listened on.
   */
  bind(
    address: ListenAddress,
    machine: MachineAddresses,
  ): Pick<UdpListeners, "port" | "addresses"> {
    const hostnames = addressesToListen(address.host, machine);
    let { port } = address;
    try {
      for (const hostname of hostnames) {
        const shared = this.#sockets.bindShared(hostname, port, this.count);
        port = shared.port;
        for (const [index, descriptor] of shared.descriptors.entries()) {
          this.#bound[index]?.push({ hostname, port, descriptor });
        }
      }
    } catch (error) {
      throw listenFailure(error, { ...address, port });
    }
    const addresses = hostnames.map((host) => formatListenAddress({ host, port }));
    return { port, addresses };
  }

  /** Lets them serve. */
  async start(plan: RelayPlan, rules: RelayRules): Promise<void> {
    const memory = this.#memory;
    if (memory === undefined) throw new TypeError("Nothing is shared with these threads yet");
    const bound = this.#bound;
    this.#bound = [];
    const origin = monotonicOrigin();
    await Promise.all(this.#threads.map((thread, index) =>
      thread.call("start", {
        number: index + 1,
        plan,
        rules,
        memory,
        origin,
        bound: bound[index] ?? [],
      })
    ));
    for (const thread of this.#threads) thread.watch();
  }

  /** Puts other rules into force, which the first thread has found usable. */
  apply(rules: RelayRules): void {
    for (const thread of this.#threads) void thread.call("apply", rules);
  }

  /** The pages of all. */
  metrics(): Promise<string[]> {
    return Promise.all(this.#threads.map((thread) => thread.metrics()));
  }

  async drain(): Promise<void> {
    await Promise.all(
      this.#threads.map((thread) => thread.callWithin(CLOSE_PATIENCE, "drain", undefined)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { descriptor } of this.#bound.flat()) this.#sockets.closeDescriptor(descriptor);
    this.#bound = [];
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
