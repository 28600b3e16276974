import type { AddressPort, IpAddress } from "../base/address.ts";
import type { Host } from "../base/host.ts";
import type {
  TurnClientEffect,
  TurnPurpose,
  TurnRefusal,
} from "../protocol/turn/client_effects.ts";
import { TurnClient } from "../protocol/turn/turn_client.ts";
import type { TurnCarrier } from "./turn_carrier.ts";

/** A TURN server has refused something, or did not answer in time. */
export class TurnRefused extends Error {
  override readonly name = "TurnRefused";
  readonly purpose: TurnPurpose["kind"];
  readonly code: TurnRefusal["code"];

  constructor(purpose: TurnPurpose["kind"], code: TurnRefusal["code"]) {
    super(`The TURN server's answer to a ${purpose} request is ${code}`);
    this.purpose = purpose;
    this.code = code;
  }
}

/** The way to a TURN server ended while something was asked. */
export class TurnDisconnected extends Error {
  override readonly name = "TurnDisconnected";
}

/** A datagram of a peer. */
export interface PeerDatagram {
  readonly peer: AddressPort;
  readonly bytes: Uint8Array;
}

export interface TurnConversationOptions {
  readonly username: string;
  readonly password: string;
  /** Milliseconds to wait for an answer. */
  readonly timeout: number;
  readonly host: Host;
}

/** Room in front of a datagram for its header, and behind it for padding. */
const HEADER = 4;
const PADDING = 3;
const MAX_WAITING_DATAGRAMS = 64;

interface Question {
  readonly answer: TurnClientEffect["kind"];
  readonly resolve: (effect: TurnClientEffect) => void;
  readonly reject: (error: Error) => void;
}

/** One client of a TURN server, which is asked one thing at a time. Owns its carrier. */
export class TurnConversation implements AsyncDisposable {
  readonly #carrier: TurnCarrier;
  readonly #client: TurnClient;
  readonly #options: TurnConversationOptions;
  readonly #reading: Promise<void>;
  readonly #datagrams: PeerDatagram[] = [];
  #question: Question | undefined;
  #onDatagram: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<unknown> = Promise.resolve();
  #isAllocated = false;
  #isOver = false;

  constructor(
    carrier: TurnCarrier,
    transport: "datagram" | "stream",
    options: TurnConversationOptions,
  ) {
    const { username, password, host } = options;
    this.#carrier = carrier;
    this.#options = options;
    this.#client = new TurnClient({
      username,
      password,
      transport,
      random: (length) => host.random(length),
    });
    this.#reading = this.#read();
  }

  /** As the server said it; `undefined` before it asked for credentials. */
  get realm(): string | undefined {
    return this.#client.realm;
  }

  /** This client's address as the server sees it. @throws {TurnRefused} @throws {TurnDisconnected} */
  async bind(): Promise<AddressPort> {
    return (await this.#ask("binding", "mapped", (now) => this.#client.bind(now))).address;
  }

  /** @throws {TurnRefused} @throws {TurnDisconnected} */
  async allocate(): Promise<Extract<TurnClientEffect, { kind: "allocated" }>> {
    return await this.#ask("allocation", "allocated", (now) => this.#client.allocate(now));
  }

  /** @throws {TurnRefused} @throws {TurnDisconnected} */
  async permit(address: IpAddress): Promise<void> {
    await this.#ask("permission", "permitted", (now) => this.#client.permit(address, now));
  }

  /** Returns the channel. @throws {TurnRefused} @throws {TurnDisconnected} */
  async bindChannel(peer: AddressPort): Promise<number> {
    return (await this.#ask(
      "channel",
      "channel-bound",
      (now) => this.#client.bindChannel(peer, now),
    )).channel;
  }

  /** Gives the allocation back. @throws {TurnRefused} @throws {TurnDisconnected} */
  async release(): Promise<void> {
    await this.#ask("release", "ended", (now) => this.#client.release(now));
  }

  /** Sends a datagram on a channel. */
  async send(channel: number, bytes: Uint8Array): Promise<void> {
    const buffer = new Uint8Array(HEADER + bytes.length + PADDING);
    buffer.set(bytes, HEADER);
    const length = this.#client.wrap(channel, buffer, HEADER, bytes.length);
    await this.#carrier.send(buffer.subarray(0, length));
  }

  /** Sends a datagram to a permitted peer, in an indication. */
  async indicate(peer: AddressPort, bytes: Uint8Array): Promise<void> {
    await this.#carrier.send(this.#client.indication(peer, bytes));
  }

  /** The next datagram of a peer; `undefined` when none comes within `milliseconds`. */
  async receive(milliseconds: number): Promise<PeerDatagram | undefined> {
    const waiting = this.#datagrams.shift();
    if (waiting !== undefined || this.#isOver) return waiting;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onDatagram = resolve;
    const timer = setTimeout(resolve, milliseconds);
    await promise;
    clearTimeout(timer);
    return this.#datagrams.shift();
  }

  /** Gives back what it still has, without waiting for the answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isAllocated && !this.#isOver) {
      this.#client.release(this.#options.host.monotonic());
      this.#settle();
      await this.#sending;
    }
    clearTimeout(this.#timer);
    this.#carrier.close();
    await this.#reading;
  }

  async #ask<Answer extends TurnClientEffect["kind"]>(
    purpose: TurnPurpose["kind"],
    answer: Answer,
    begin: (now: number) => void,
  ): Promise<Extract<TurnClientEffect, { kind: Answer }>> {
    if (this.#isOver) throw new TurnDisconnected();
    const { promise, resolve, reject } = Promise.withResolvers<TurnClientEffect>();
    this.#question = { answer, resolve, reject };
    const late = setTimeout(
      () => reject(new TurnRefused(purpose, "timeout")),
      this.#options.timeout,
    );
    try {
      begin(this.#options.host.monotonic());
      this.#settle();
      const effect = await promise;
      if (!isKind(effect, answer)) throw new TypeError(`The answer ${effect.kind} was not asked`);
      return effect;
    } finally {
      clearTimeout(late);
      this.#question = undefined;
    }
  }

  /** Does what the client wants, and comes back when it wants something again. */
  #settle(): void {
    for (const effect of this.#client.takeEffects()) {
      if (effect.kind === "allocated") this.#isAllocated = true;
      if (effect.kind === "ended") this.#isAllocated = false;
      if (effect.kind === "send") {
        this.#sending = this.#carrier.send(effect.bytes).catch(() => this.#end());
      }
      if (effect.kind === this.#question?.answer) this.#question.resolve(effect);
      else if (effect.kind === "refused") this.#refused(effect.purpose, effect.refusal);
    }
    clearTimeout(this.#timer);
    const wait = this.#client.nextDeadline() - this.#options.host.monotonic();
    if (this.#isOver || wait === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#client.advance(this.#options.host.monotonic());
      this.#settle();
    }, Math.max(0, wait));
  }

  #refused({ kind }: TurnPurpose, { code }: TurnRefusal): void {
    this.#question?.reject(new TurnRefused(kind, code));
  }

  async #read(): Promise<void> {
    try {
      await this.#carrier.read((buffer, offset, length) => this.#receive(buffer, offset, length));
    } catch {
      // What cannot be read on has ended.
    }
    this.#end();
  }

  #receive(buffer: Uint8Array, offset: number, length: number): void {
    const isData = this.#client.receive(buffer, offset, length, this.#options.host.monotonic());
    const { peer, dataOffset, dataLength } = this.#client;
    if (!isData || peer === undefined) return this.#settle();
    if (this.#datagrams.length >= MAX_WAITING_DATAGRAMS) return;
    this.#datagrams.push({ peer, bytes: buffer.slice(dataOffset, dataOffset + dataLength) });
    this.#onDatagram?.();
  }

  #end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#question?.reject(new TurnDisconnected());
    this.#onDatagram?.();
  }
}

function isKind<Kind extends TurnClientEffect["kind"]>(
  effect: TurnClientEffect,
  kind: Kind,
): effect is Extract<TurnClientEffect, { kind: Kind }> {
  return effect.kind === kind;
}
