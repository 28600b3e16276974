import { getLogger } from "@logtape/logtape";
import type { AddressFamily, AddressWords } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import { TRANSACTION_ID_LENGTH } from "../../protocol/stun/message.ts";
import type { SessionRecord } from "../../protocol/turn/allocation.ts";
import type { Client } from "../../protocol/turn/client.ts";
import { icmpIndication, type IcmpReport } from "../../protocol/turn/icmp_indication.ts";
import type { Delivery } from "../../protocol/turn/relay_data.ts";
import type { RelayPort } from "../../protocol/turn/relay_port.ts";
import type { TurnEffect } from "../../protocol/turn/turn_effect.ts";
import type { TurnServer } from "../../protocol/turn/turn_server.ts";
import type { DatagramSocket, DatagramSockets, DatagramSource } from "./datagram_sockets.ts";

const log = getLogger(["cairn", "relay"]);

/** The longest time that a timer can be set to. */
const MAX_TIMER = 2 ** 31 - 1;
/** Unexpected failures that are logged a minute; a stranger may know how to cause them. */
const MAX_LOGGED_FAILURES = 10;
const MINUTE = 60_000;
/** For the datagrams of one relay port, while this process is held up. */
const KERNEL_BUFFER = 1_048_576;

export interface TurnDriverOptions {
  readonly server: TurnServer;
  readonly sockets: DatagramSockets;
  /** Addresses of this machine on which relay ports are opened. */
  readonly relayHosts: Readonly<Partial<Record<AddressFamily, string>>>;
  readonly host: Pick<Host, "monotonic" | "random">;
  readonly onSessionEnded: (session: SessionRecord) => void;
  /** Default: a timer of the event loop. */
  readonly alarm?: Alarm | undefined;
  /** Keeps sockets of reserved ports, where siblings may take them over. */
  readonly shelf?: SocketShelf | undefined;
}

/** Rings once at a time. */
export interface Alarm {
  set(milliseconds: number, ring: () => void): void;
  clear(): void;
}

/** Descriptors of bound sockets that belong to no thread. */
export interface SocketShelf {
  put(port: RelayPort, descriptor: number): void;
  take(port: RelayPort): number | undefined;
  /** Closes what is there. */
  close(port: RelayPort): void;
}

/** The timer of the event loop. */
class TimerAlarm implements Alarm {
  #timer: ReturnType<typeof setTimeout> | undefined;

  set(milliseconds: number, ring: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(ring, milliseconds);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** Brings packets and time to a {@linkcode TurnServer} and does what it asks for. */
export class TurnDriver {
  readonly server: TurnServer;
  /** Failures of the program itself. */
  failures = 0;
  readonly #options: TurnDriverOptions;
  readonly #ports = new Map<RelayPort, DatagramSocket>();
  readonly #alarm: Alarm;
  #alarmAt = Infinity;
  #loggedFailures = 0;
  #failuresSince = -Infinity;

  constructor(options: TurnDriverOptions) {
    this.#options = options;
    this.server = options.server;
    this.#alarm = options.alarm ?? new TimerAlarm();
  }

  /** Relay ports that are open. */
  get openPorts(): number {
    return this.#ports.size;
  }

  /** Whole monotonic milliseconds. */
  now(): number {
    return Math.floor(this.#options.host.monotonic());
  }

  /** Takes a datagram of a client. The promise says when its buffer is free again. */
  fromClient(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void | Promise<unknown> {
    const delivery = this.#receive(client, buffer, offset, length);
    if (delivery !== undefined) return send(delivery, buffer);
  }

  /** Takes a frame from a client's stream, whose buffer is free again when this returns. */
  fromStream(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void | Promise<unknown> {
    const delivery = this.#receive(client, buffer, offset, length);
    if (delivery === undefined) return;
    const copy = buffer.slice(delivery.offset, delivery.offset + delivery.length);
    delivery.offset = 0;
    return send(delivery, copy);
  }

  /** The client's connection has ended. */
  clientGone(client: Client): void {
    this.server.clientGone(client, this.now());
    this.settle();
  }

  /** Does what the server asks for, and sets the timer. Call it after every other fact. */
  settle(): void {
    while (this.server.hasEffects) {
      for (const effect of this.server.takeEffects()) this.#perform(effect);
    }
    const deadline = this.server.nextDeadline();
    if (deadline >= this.#alarmAt) return;
    this.#alarmAt = deadline;
    const wait = Math.min(Math.max(0, deadline - this.now()), MAX_TIMER);
    this.#alarm.set(wait, () => this.#advance());
  }

  /** Ends every allocation. */
  close(): void {
    this.server.close(this.now());
    this.settle();
    this.#alarm.clear();
    this.#alarmAt = -Infinity;
    for (const socket of this.#ports.values()) socket.close();
    this.#ports.clear();
  }

  #receive(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): Delivery | undefined {
    try {
      const now = this.now();
      const delivery = this.server.receiveFromClient(client, buffer, offset, length, now);
      // A packet that is relayed changes no deadline and has no other effect.
      if (delivery !== undefined) return delivery;
      this.settle();
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  #fromPeer(
    port: RelayPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: DatagramSource,
  ): void | Promise<unknown> {
    try {
      const delivery = this.server.receiveFromPeer(port, buffer, offset, length, from, this.now());
      if (delivery !== undefined) return send(delivery, buffer);
    } catch (error) {
      this.#fail(error);
    }
  }

  #perform(effect: TurnEffect): void {
    switch (effect.kind) {
      case "send": {
        const sent = effect.client.send(effect.bytes, 0, effect.bytes.length);
        if (sent !== undefined) sent.catch(() => this.#dropped());
        return;
      }
      case "open-relay-port":
        return this.#open(effect.port);
      case "close-relay-port":
        return this.#close(effect.port);
      case "set-relay-port-aside":
        return this.#setAside(effect.port);
      case "session-ended":
        return this.#options.onSessionEnded(effect.session);
    }
  }

  #open(port: RelayPort): void {
    // The port below, of the same pair, could not be bound meanwhile: nobody waits for this one.
    if (port.opening === undefined) return;
    const { sockets, relayHosts, shelf } = this.#options;
    const hostname = relayHosts[port.family];
    try {
      if (hostname === undefined) throw new Error(`No relay address of IPv${port.family}`);
      const socket = sockets.open({
        hostname,
        port: port.endpoint.port,
        bound: shelf?.take(port),
        inFlight: 1,
        kernelBuffer: KERNEL_BUFFER,
        onDatagram: (buffer, offset, length, from) =>
          this.#fromPeer(port, buffer, offset, length, from),
        onIcmp: (to, report) => this.#icmpCame(port, to, report),
        onDrop: () => this.#dropped(),
        onLost: (error) => this.#portFailed(port, error),
      });
      this.#ports.set(port, socket);
      this.server.relayPortOpened(port, socket, this.now());
    } catch (error) {
      this.#portFailed(port, error);
    }
  }

  #close(port: RelayPort): void {
    const socket = this.#ports.get(port);
    if (socket === undefined) return this.#options.shelf?.close(port);
    socket.close();
    this.#ports.delete(port);
  }

  #setAside(port: RelayPort): void {
    const descriptor = this.#ports.get(port)?.detach?.();
    this.#ports.delete(port);
    if (descriptor !== undefined) this.#options.shelf?.put(port, descriptor);
  }

  #icmpCame(port: RelayPort, to: AddressWords, report: IcmpReport): void {
    const id = this.#options.host.random(TRANSACTION_ID_LENGTH);
    const effect = icmpIndication(port, to, report, id, this.now());
    if (effect !== undefined) this.#perform(effect);
  }

  #portFailed(port: RelayPort, error: unknown): void {
    log.warn("Cannot relay on port {port}: {reason}", {
      port: port.endpoint.port,
      reason: error instanceof Error ? error.message : String(error),
    });
    this.server.relayPortFailed(port, this.now());
    this.settle();
  }

  #advance(): void {
    this.#alarmAt = Infinity;
    this.server.advance(this.now());
    this.settle();
  }

  #dropped(): void {
    this.server.counters.droppedBackpressure++;
  }

  /** What a packet brings about must not end the relay for everybody else. */
  #fail(error: unknown): void {
    this.failures++;
    const now = this.now();
    if (now - this.#failuresSince >= MINUTE) {
      this.#failuresSince = now;
      this.#loggedFailures = 0;
    }
    if (this.#loggedFailures++ >= MAX_LOGGED_FAILURES) return;
    log.error("A packet could not be handled; please report this: {error}", { error });
  }
}

function send(delivery: Delivery, buffer: Uint8Array): void | Promise<unknown> {
  const { client, socket, peer, offset, length, dontFragment } = delivery;
  if (client !== undefined) return client.send(buffer, offset, length);
  if (socket !== undefined && peer !== undefined) {
    return socket.send(buffer, offset, length, peer, dontFragment);
  }
}
