/** One thread of a relay that has several; `relay_threads` is the other end. */

import { type MessagePort as NodeMessagePort, receiveMessageOnPort } from "node:worker_threads";
import { hostInStep } from "../../../base/host.ts";
import { MetricsRegistry } from "../../metrics.ts";
import {
  type Answers,
  type AnyCall,
  runThread,
  startThread,
  ThreadCalls,
} from "../../role_thread.ts";
import { RelayCore, type RelayPlan, type RelayRules } from "../relay_core.ts";
import { describeDriver } from "../relay_metrics.ts";
import { BatchKernel } from "../udp_batch/batch_kernel.ts";
import { BatchDatagramSockets } from "../udp_batch/batch_sockets.ts";
import { type BoundSocket, serveUdp } from "../udp_clients.ts";
import { Ledger, type LedgerMemory } from "./ledger.ts";
import { PacketLoop } from "./packet_loop.ts";
import { SharedShelf } from "./shelf.ts";

/** What a thread is started with. */
export interface ThreadStart {
  /** From 1: the first thread has number 0. */
  readonly number: number;
  readonly plan: RelayPlan;
  readonly rules: RelayRules;
  readonly memory: LedgerMemory;
  /** See `hostInStep`. */
  readonly origin: number;
  /** Its clients' sockets, which it closes. */
  readonly bound: readonly BoundSocket[];
}

/** What the first thread asks of one. */
export interface RelayCalls {
  /** Answers when FFI is not needed any more, with what is rung when there is a message. */
  readonly load: { readonly body: undefined; readonly answer: number };
  readonly start: { readonly body: ThreadStart; readonly answer: void };
  readonly apply: { readonly body: RelayRules; readonly answer: void };
  readonly metrics: { readonly body: undefined; readonly answer: string };
  readonly drain: { readonly body: undefined; readonly answer: void };
  /** The bell is no more afterwards. */
  readonly close: { readonly body: undefined; readonly answer: void };
}

/** Another thread, which runs this file. */
export function openThread(): Worker {
  return startThread("cairn relay", import.meta.url);
}

runThread("cairn relay", (control, same) => {
  const loop = new PacketLoop(() => {
    for (let mail = receive(same); mail !== undefined; mail = receive(same)) {
      void calls.take(mail);
    }
  });
  const sockets = new BatchDatagramSockets(BatchKernel.load(), (rounds) => loop.run(rounds));
  const calls = new ThreadCalls<RelayCalls>(control, answers(sockets, loop));
});

function receive(control: NodeMessagePort): AnyCall<RelayCalls> | undefined {
  return receiveMessageOnPort(control)?.message;
}

function answers(sockets: BatchDatagramSockets, alarm: PacketLoop): Answers<RelayCalls> {
  const registry = new MetricsRegistry();
  const open = new DisposableStack();
  let core: RelayCore | undefined;
  return {
    load: () => sockets.bell,
    start({ number, plan, rules, memory, origin, bound }) {
      const host = hostInStep(origin);
      const { settings, addresses } = plan;
      const ledger = new Ledger({ memory, self: number, settings, bound: addresses.bound, host });
      const shelf = new SharedShelf(ledger, sockets);
      core = open.adopt(
        new RelayCore({ plan, rules, sockets, host, siblings: ledger, alarm, shelf }),
        (core) => core.close(),
      );
      describeDriver(registry, core.driver);
      open.use(serveUdp(bound, { sockets, driver: core.driver, onLost: fail }));
    },
    apply: (rules) => core?.apply(rules),
    metrics: () => registry.text(),
    drain: () => core?.drain(),
    close() {
      open.dispose();
      void sockets[Symbol.asyncDispose]();
    },
  };
}

/** A thread without its socket leaves a part of all clients unheard: the process ends. */
function fail(error: unknown): never {
  throw new Error("a listening socket was lost", { cause: error });
}
