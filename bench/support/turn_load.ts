/**
 * Clients of a TURN server and their peers, whose allocations this process makes and whose packets
 * a program in C moves at a given pace (`turn_flows.c`), so that the load costs little.
 */

import { parseIp } from "../../src/base/address.ts";
import { concatBytes, toHex, u16 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import type { TurnClientEffect } from "../../src/protocol/turn/client_effects.ts";
import { TurnClient } from "../../src/protocol/turn/turn_client.ts";
import { BatchSocket } from "./batch_sockets.ts";

const LOOPBACK = parseIp("127.0.0.1")!;
const SETUP_WITHIN_MS = 10_000;
const PROGRAM = new URL("turn_flows.c", import.meta.url).pathname;
/** Datagrams in a row of one client, as from those that do not know of one another. */
const BURST = 4;

/** Which way packets go through the relay. */
export type Direction = "to peers" | "to clients" | "both";
/** In what packets go between client and server; or from one client to another. */
export type Wrapping = "channels" | "indications" | "relay to relay";

export interface Flow {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
  /** CPU seconds of the load itself. */
  readonly ownSeconds: number;
}

/** One allocation and one peer. */
export class Session implements Disposable {
  readonly client = new BatchSocket();
  readonly peer = new BatchSocket();
  /** What a client writes in front of the data. */
  prefix: Uint8Array = new Uint8Array();
  readonly #machine = new TurnClient({
    username: "user",
    password: "pass",
    transport: "datagram",
    random: systemHost.random,
  });

  /** Resolves with the port of the relayed address. */
  async allocate(port: number): Promise<number> {
    this.client.connect(port);
    this.#machine.allocate(performance.now());
    const allocated = await this.#until("allocated");
    if (allocated.kind !== "allocated") throw new Error("Not allocated");
    this.peer.connect(allocated.relayed.port);
    return allocated.relayed.port;
  }

  async bind(port: number, size: number): Promise<void> {
    this.#machine.bindChannel({ address: LOOPBACK, port }, performance.now());
    const bound = await this.#until("channel-bound");
    if (bound.kind === "channel-bound") this.prefix = concatBytes(u16(bound.channel), u16(size));
  }

  async permit(port: number, size: number): Promise<void> {
    this.#machine.permit(LOOPBACK, performance.now());
    await this.#until("permitted");
    const data = new Uint8Array(size);
    const indication = this.#machine.indication({ address: LOOPBACK, port }, data);
    this.prefix = indication.subarray(0, indication.length - size);
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.peer[Symbol.dispose]();
  }

  async #until(kind: TurnClientEffect["kind"]): Promise<TurnClientEffect> {
    const start = performance.now();
    while (performance.now() - start < SETUP_WITHIN_MS) {
      for (const effect of this.#machine.takeEffects()) {
        if (effect.kind === "send") this.client.sendOne(effect.bytes);
        else if (effect.kind === kind) return effect;
        else if (effect.kind === "refused") throw new Error(`Refused: ${effect.refusal.code}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
      this.#machine.advance(performance.now());
      for (let i = this.client.receive() - 1; i >= 0; i--) {
        const bytes = this.client.received(i);
        this.#machine.receive(bytes, 0, bytes.length, performance.now());
      }
    }
    throw new Error(`The server does not come to "${kind}"`);
  }
}

export interface TurnLoadOptions {
  /** Allocations. */
  readonly count: number;
  /** Bytes of data in each packet, a multiple of 4. */
  readonly size: number;
  readonly wrapping: Wrapping;
  /** For the compiled program. */
  readonly folder: string;
}

/** So many allocations on one server. */
export class TurnLoad implements Disposable {
  readonly #sessions: readonly Session[];
  readonly #options: TurnLoadOptions;
  readonly #program: string;

  private constructor(sessions: readonly Session[], options: TurnLoadOptions, program: string) {
    this.#sessions = sessions;
    this.#options = options;
    this.#program = program;
  }

  static async open(port: number, options: TurnLoadOptions): Promise<TurnLoad> {
    const { count, size, wrapping } = options;
    const sessions = Array.from({ length: count }, () => new Session());
    const relayed: number[] = [];
    for (const session of sessions) relayed.push(await session.allocate(port));
    for (const [i, session] of sessions.entries()) {
      if (wrapping === "channels") await session.bind(session.peer.port, size);
      else if (wrapping === "indications") await session.permit(session.peer.port, size);
      // Two clients each: one sends to the other's relayed address.
      else await session.bind(relayed[i ^ 1] ?? NaN, size);
    }
    return new TurnLoad(sessions, options, await compiled(options.folder));
  }

  /** Sends `rate` packets a second for `seconds`, evenly over all sessions. */
  async run(direction: Direction, rate: number, seconds: number): Promise<Flow> {
    const { stdout, success } = await new Deno.Command(this.#program, {
      args: [`${rate}`, `${seconds}`, `${BURST}`, ...this.#flows(direction)],
      stdout: "piped",
    }).output();
    if (!success) throw new Error("The load could not be sent");
    const [sent = 0, received = 0, took = 0, ownSeconds = 0] = new TextDecoder().decode(stdout)
      .split(" ").map(Number);
    return { sent, received, seconds: took, ownSeconds };
  }

  #flows(direction: Direction): readonly string[] {
    const { size, wrapping } = this.#options;
    return this.#sessions.flatMap(({ client, peer, prefix }, i) => {
      const from = `${prefix.length + size}:${toHex(prefix)}`;
      if (wrapping === "relay to relay") {
        return [`${client.fd}:${this.#sessions[i ^ 1]?.client.fd}:${from}`];
      }
      const toPeer = `${client.fd}:${peer.fd}:${from}`;
      const toClient = `${peer.fd}:${client.fd}:${size}:`;
      return direction === "both"
        ? [toPeer, toClient]
        : direction === "to peers"
        ? [toPeer]
        : [toClient];
    });
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session[Symbol.dispose]();
  }
}

async function compiled(folder: string): Promise<string> {
  const program = `${folder}/turn_flows`;
  const { success } = await new Deno.Command("cc", { args: ["-O2", "-o", program, PROGRAM] })
    .output();
  if (!success) throw new Error("The load needs a C compiler: apt-get install gcc libc6-dev");
  return program;
}
