/** Clients of a TURN server and their peers, all in this process, sending at a given pace. */

import { parseIp } from "../../src/base/address.ts";
import { concatBytes, u16 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import type { TurnClientEffect } from "../../src/protocol/turn/client_effects.ts";
import { TurnClient } from "../../src/protocol/turn/turn_client.ts";
import { BatchSocket } from "./batch_sockets.ts";

const LOOPBACK = parseIp("127.0.0.1")!;
const SETUP_WITHIN_MS = 10_000;
/** After the last packet is sent, those under way may arrive so long. */
const SETTLE_MS = 300;
const BURST = 32;

/** Which way packets go through the relay. */
export type Direction = "to peers" | "to clients" | "both";

export interface Flow {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
}

/** One allocation with one channel to one peer. */
class Session implements Disposable {
  readonly client = new BatchSocket();
  readonly peer = new BatchSocket();

  /** Fills what both ends send: datagrams of `size` bytes, from the client in ChannelData. */
  async open(port: number, size: number): Promise<void> {
    const machine = new TurnClient({
      username: "user",
      password: "pass",
      transport: "datagram",
      random: systemHost.random,
    });
    this.client.connect(port);
    machine.allocate(performance.now());
    const allocated = await this.#until(machine, "allocated");
    machine.bindChannel({ address: LOOPBACK, port: this.peer.port }, performance.now());
    const bound = await this.#until(machine, "channel-bound");
    if (allocated.kind !== "allocated" || bound.kind !== "channel-bound") return;
    const datagram = systemHost.random(size);
    this.client.load(concatBytes(u16(bound.channel), u16(size), datagram));
    this.peer.connect(allocated.relayed.port);
    this.peer.load(datagram);
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.peer[Symbol.dispose]();
  }

  async #until(machine: TurnClient, kind: TurnClientEffect["kind"]): Promise<TurnClientEffect> {
    const start = performance.now();
    while (performance.now() - start < SETUP_WITHIN_MS) {
      for (const effect of machine.takeEffects()) {
        if (effect.kind === "send") this.client.sendOne(effect.bytes);
        else if (effect.kind === kind) return effect;
        else if (effect.kind === "refused") throw new Error(`Refused: ${effect.refusal.code}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
      machine.advance(performance.now());
      for (let i = this.client.receive() - 1; i >= 0; i--) {
        const bytes = this.client.received(i);
        machine.receive(bytes, 0, bytes.length, performance.now());
      }
    }
    throw new Error(`The server does not come to "${kind}"`);
  }
}

/** So many allocations on one server. */
export class TurnLoad implements Disposable {
  readonly #sessions: readonly Session[];

  private constructor(sessions: readonly Session[]) {
    this.#sessions = sessions;
  }

  static async open(port: number, count: number, size: number): Promise<TurnLoad> {
    const sessions = Array.from({ length: count }, () => new Session());
    for (const session of sessions) await session.open(port, size);
    return new TurnLoad(sessions);
  }

  /** Sends `rate` packets a second for `seconds`, evenly over all sessions. */
  run(direction: Direction, rate: number, seconds: number): Flow {
    const senders = this.#sessions.flatMap(({ client, peer }) =>
      direction === "both" ? [client, peer] : direction === "to peers" ? [client] : [peer]
    );
    const receivers = this.#sessions.flatMap(({ client, peer }) =>
      direction === "both" ? [peer, client] : direction === "to peers" ? [peer] : [client]
    );
    let sent = 0;
    let received = 0;
    let turn = 0;
    const takeAll = () => {
      for (const receiver of receivers) {
        for (let count = BURST; count === BURST;) received += count = receiver.receive();
      }
    };
    const start = performance.now();
    for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - start) {
      let due = Math.floor(elapsed * rate / 1000) - sent;
      // Few at a time from each, as from clients that do not know of one another.
      for (let i = 0; i < senders.length && due > 0; i++) {
        const count = Math.min(due, 4);
        sent += senders[turn++ % senders.length]!.send(count);
        due -= count;
      }
      takeAll();
    }
    const end = performance.now();
    while (performance.now() - end < SETTLE_MS) takeAll();
    return { sent, received, seconds: (end - start) / 1000 };
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session[Symbol.dispose]();
  }
}
