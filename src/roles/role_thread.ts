/** A thread of a role that has several: what the first one asks of it, and how it answers. */

import type { MessagePort as NodeMessagePort } from "node:worker_threads";
import type { LogLevel } from "@logtape/logtape";
import { CairnError, type CairnErrorCode } from "../base/errors.ts";
import { forwardLog, type ThreadRecord, writeRecord } from "./thread_log.ts";
import { type ThreadName, threadName } from "./thread_name.ts";

/** What can be asked: for each kind what goes there, and what comes back. */
export type Calls<Table> = {
  readonly [Kind in keyof Table]: { readonly body: unknown; readonly answer: unknown };
};

type Call<Table extends Calls<Table>, Kind extends keyof Table> = {
  readonly id: number;
  readonly kind: Kind;
  readonly body: Table[Kind]["body"];
};

/** A call of any kind. */
export type AnyCall<Table extends Calls<Table>> =
  | Ping
  | { readonly [Kind in keyof Table]: Call<Table, Kind> }[keyof Table];

/** Whether it still hears; every thread answers. */
interface Ping {
  readonly id: number;
  readonly kind: "ping";
}

type Reply =
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown }
  | {
    readonly kind: "refusal";
    readonly id: number;
    readonly code: CairnErrorCode;
    readonly message: string;
  }
  | { readonly kind: "log"; readonly record: ThreadRecord };

/** The first message to a thread. */
interface Opening {
  readonly control: MessagePort;
  readonly level: LogLevel | undefined;
}

/** How often a thread is asked whether it hears, milliseconds: a busy one is late by seconds. */
const PING_INTERVAL = 20_000;
/** Questions in a row without an answer after which it has hung: one may fall into a long standstill. */
const MAX_UNANSWERED = 3;

/** A thread as the first one sees it. */
export class RoleThread<Table extends Calls<Table>> implements Disposable {
  readonly #worker: Worker;
  readonly #control: MessagePort;
  readonly #asked = new Map<number, (event: MessageEvent) => void>();
  #lastId = 0;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #unanswered = 0;
  /** Called after each message, for a thread that does not wait for messages. */
  wake: () => void = () => {};
  /** Called when its program fails. Default: the process ends, as when its only thread fails. */
  onFailure: (error: Error) => void = (error) => reportError(error);

  constructor(worker: Worker, level: LogLevel | undefined) {
    const { port1, port2 } = new MessageChannel();
    this.#worker = worker;
    this.#control = port1;
    port1.onmessage = (event) => this.#take(event);
    worker.onerror = (event) => {
      event.preventDefault();
      this.onFailure(new Error(`A thread failed: ${event.message}`));
    };
    const opening: Opening = { control: port2, level };
    worker.postMessage(opening, [port2]);
  }

  /** @throws {CairnError} what the thread has thrown. */
  call<Kind extends keyof Table>(
    kind: Kind,
    body: Table[Kind]["body"],
    transfer: Transferable[] = [],
  ): Promise<Table[Kind]["answer"]> {
    return this.#ask(kind, body, transfer).answer;
  }

  /** The same, but `undefined` when no answer came within so many milliseconds. */
  async callWithin<Kind extends keyof Table>(
    milliseconds: number,
    kind: Kind,
    body: Table[Kind]["body"],
  ): Promise<Table[Kind]["answer"] | undefined> {
    const { id, answer } = this.#ask(kind, body, []);
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => {
      this.#asked.delete(id);
      late.resolve(undefined);
    }, milliseconds);
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** From here on, that it hears nothing any more counts as a failure, too. */
  watch(interval = PING_INTERVAL): void {
    this.#pinging = setInterval(() => {
      if (this.#unanswered === MAX_UNANSWERED) {
        clearInterval(this.#pinging);
        const seconds = Math.round(MAX_UNANSWERED * interval / 1_000);
        this.onFailure(new Error(`A thread has not answered for ${seconds} seconds`));
        return;
      }
      this.#unanswered++;
      const id = ++this.#lastId;
      this.#asked.set(id, () => this.#unanswered = 0);
      this.#post({ id, kind: "ping" });
    }, interval);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#pinging);
    this.#control.close();
    this.#worker.terminate();
  }

  #ask<Kind extends keyof Table>(
    kind: Kind,
    body: Table[Kind]["body"],
    transfer: Transferable[],
  ): { readonly id: number; readonly answer: Promise<Table[Kind]["answer"]> } {
    const id = ++this.#lastId;
    const call: Call<Table, Kind> = { id, kind, body };
    const answer = new Promise<Table[Kind]["answer"]>((resolve, reject) => {
      this.#asked.set(id, ({ data }) => {
        if (data.kind === "answer") resolve(data.answer);
        else reject(new CairnError(data.code, data.message));
      });
      this.#post(call, transfer);
    });
    return { id, answer };
  }

  #post(call: AnyCall<Table>, transfer: Transferable[] = []): void {
    this.#control.postMessage(call, transfer);
    this.wake();
  }

  #take(event: MessageEvent<Reply>): void {
    const { data } = event;
    if (data.kind === "log") return writeRecord(data.record);
    this.#asked.get(data.id)?.(event);
    this.#asked.delete(data.id);
  }
}

/** How a thread answers; a `CairnError` reaches whoever asked, any other ends the process. */
export type Answers<Table extends Calls<Table>> = {
  readonly [Kind in keyof Table]: (
    body: Table[Kind]["body"],
  ) => Table[Kind]["answer"] | Promise<Table[Kind]["answer"]>;
};

/** The thread's own end. */
export class ThreadCalls<Table extends Calls<Table>> {
  readonly control: MessagePort;
  readonly #answers: Answers<Table>;

  constructor(control: MessagePort, answers: Answers<Table>) {
    this.control = control;
    this.#answers = answers;
  }

  async take<Kind extends keyof Table>(call: Call<Table, Kind> | Ping): Promise<void> {
    const { id } = call;
    if (!("body" in call)) return this.#say({ kind: "answer", id, answer: undefined });
    try {
      const answered = this.#answers[call.kind](call.body);
      this.#say({ kind: "answer", id, answer: await answered });
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#say({ kind: "refusal", id, code: error.code, message: error.message });
    }
  }

  #say(reply: Reply): void {
    this.control.postMessage(reply);
  }
}

/**
 * Starts a thread that runs `module`, which says by {@linkcode runThread} what the thread does. In a
 * bundle `module` is the whole program, whose first lines lead to the right one by the name.
 */
export function startThread(name: ThreadName, module: string): Worker {
  return new Worker(module, { type: "module", name });
}

/**
 * In a thread of this name, calls `open` with the thread's end of the conversation, once as the web
 * knows it and once as Node does, and lets its log go there; elsewhere does nothing.
 */
export function runThread(
  name: ThreadName,
  open: (control: MessagePort, same: NodeMessagePort) => void,
): void {
  if (threadName() !== name) return;
  addEventListener("message", (event) => {
    if (!(event instanceof MessageEvent)) return;
    const { control, level }: Opening = event.data;
    const { control: same }: { readonly control: NodeMessagePort } = event.data;
    forwardLog(level, (record) => control.postMessage({ kind: "log", record } satisfies Reply));
    open(control, same);
  }, { once: true });
}
