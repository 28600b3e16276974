/** UDP sockets of Linux, many datagrams with one call. */

import { type IpAddress, parseIp } from "../../../base/address.ts";
import { Endpoint } from "../../../base/endpoint.ts";
import type {
  DatagramSocket,
  DatagramSocketOptions,
  DatagramSockets,
} from "../datagram_sockets.ts";
import type { BatchKernel } from "./batch_kernel.ts";
import { BatchSocket, type Outbox } from "./batch_socket.ts";
import { besideEventLoop, type Rounds } from "./rounds.ts";
import { SLOTS } from "./packet_memory.ts";
import { EPOLLERR, EPOLLIN } from "./socket_calls.ts";

/** Datagrams that are received with one call. */
const BATCH = 64;
/** Before and behind a datagram of a row that was received as one. */
const ROOM_AROUND = 64;

/** The sockets of one owner. */
export class BatchDatagramSockets implements DatagramSockets, Outbox, Rounds {
  readonly engine = "batch";
  readonly #kernel: BatchKernel;
  readonly #epoll: number;
  readonly #bell: number;
  /** By descriptor. */
  readonly #sockets: (BatchSocket | undefined)[] = [];
  /** By how the machine's addresses are written. */
  readonly #addresses = new Map<string, IpAddress>();
  readonly #running: Promise<void>;
  #isClosed = false;
  #isFlushDue = false;
  #isRung = false;
  /** Slots whose datagrams may wait to be sent. */
  #usedSlots = 0;
  isServing = false;
  trafficClass = 0;

  /** `run` lets it serve, round by round, until it is closed. */
  constructor(kernel: BatchKernel, run: (rounds: Rounds) => Promise<void> = besideEventLoop) {
    this.#kernel = kernel;
    this.#epoll = kernel.calls.createEpoll();
    this.#bell = kernel.calls.createBell();
    kernel.calls.hear(this.#epoll, this.#bell);
    this.#running = this.#serveUntilClosed(run);
  }

  /** What {@linkcode ring} takes, on any thread, to end a wait of this one. */
  get bell(): number {
    return this.#bell;
  }

  ring(bell: number): void {
    this.#kernel.calls.ring(bell);
  }

  closeDescriptor(descriptor: number): void {
    this.#kernel.calls.close(descriptor);
  }

  takeRing(): boolean {
    const isRung = this.#isRung;
    this.#isRung = false;
    return isRung;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  open(options: DatagramSocketOptions): DatagramSocket {
    const name = new Endpoint(this.#addressOf(options.hostname), options.port);
    const { calls } = this.#kernel;
    const { bound } = options;
    const { fd, port } = bound === undefined
      ? calls.open(name, name.family)
      : { fd: bound, port: options.port };
    try {
      calls.setBuffers(fd, options.kernelBuffer);
      calls.tellTrafficClass(fd, name.family);
      if (options.onIcmp !== undefined) calls.tellErrors(fd, name.family);
      calls.joinDatagrams(fd);
      calls.watch(this.#epoll, fd);
    } catch (error) {
      calls.close(fd);
      throw error;
    }
    const socket = new BatchSocket(this, this.#kernel, options, { fd, port, family: name.family });
    this.#sockets[fd] = socket;
    return socket;
  }

  /**
   * Binds `count` sockets to one address, for as many threads; their descriptors, which are the
   * caller's to close. Port 0 takes a free one.
   *
   * @throws whatever the system says, also when one socket has that address that shares it.
   */
  bindShared(
    hostname: string,
    port: number,
    count: number,
  ): { readonly port: number; readonly descriptors: readonly number[] } {
    const { calls } = this.#kernel;
    const address = this.#addressOf(hostname);
    const asked = new Endpoint(address, port);
    // A port that somebody else shares looks free to who shares too.
    const trial = calls.open(asked, asked.family);
    calls.close(trial.fd);
    const name = new Endpoint(address, trial.port);
    const descriptors: number[] = [];
    try {
      while (descriptors.length < count) {
        descriptors.push(calls.open(name, name.family, true).fd);
      }
    } catch (error) {
      for (const fd of descriptors) calls.close(fd);
      throw error;
    }
    return { port: trial.port, descriptors };
  }

  /** Read once: every relay port is opened on one of a few. */
  #addressOf(hostname: string): IpAddress {
    const known = this.#addresses.get(hostname);
    if (known !== undefined) return known;
    const address = parseIp(hostname);
    if (address === undefined) return resolved(hostname);
    this.#addresses.set(hostname, address);
    return address;
  }

  /** Forgets a socket that is about to be closed. */
  forget(fd: number): void {
    this.#kernel.calls.unwatch(this.#epoll, fd);
    this.#sockets[fd] = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      for (const socket of this.#sockets) socket?.close();
      this.#kernel.calls.ring(this.#bell);
    }
    await this.#running;
  }

  serve(milliseconds: number): boolean {
    const ready = this.#kernel.calls.ready(this.#epoll, milliseconds);
    if (ready <= 0) return false;
    this.#serve(ready);
    return true;
  }

  async whenReady(): Promise<void> {
    await this.#kernel.calls.whenReady(this.#epoll);
  }

  async #serveUntilClosed(run: (rounds: Rounds) => Promise<void>): Promise<void> {
    await run(this);
    this.#kernel.calls.close(this.#bell);
    this.#kernel.calls.close(this.#epoll);
  }

  #serve(ready: number): void {
    const { calls } = this.#kernel;
    this.isServing = true;
    try {
      for (let i = 0; i < ready; i++) {
        const fd = calls.readyFd(i);
        const socket = this.#sockets[fd];
        if (fd === this.#bell) this.#isRung = true;
        if (socket === undefined) continue;
        const events = calls.readyFor(i);
        if ((events & EPOLLERR) !== 0) socket.readErrors();
        if ((events & (EPOLLIN | EPOLLERR)) !== 0 && !socket.isClosed) {
          this.#receive(socket);
        }
      }
    } finally {
      this.isServing = false;
      this.flush();
    }
  }

  /** Sends what waits, after which all slots are free. */
  flush(): void {
    this.#kernel.queue.flush();
    this.#usedSlots = 0;
  }

  /** What one callback sends leaves together: a stream may bring many datagrams at once. */
  flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }

  /** Takes one batch of a socket, so that a busy one does not keep the others waiting. */
  #receive(socket: BatchSocket): void {
    const { memory } = this.#kernel;
    if (SLOTS - this.#usedSlots < BATCH) this.flush();
    const first = this.#usedSlots;
    const count = memory.receive(socket.fd, first, BATCH);
    if (count < 0) {
      return socket.failed(memory.libc.errno);
    }
    this.#usedSlots += count;
    socket.failures = 0;
    for (let slot = first; slot < first + count; slot++) {
      if (!socket.isClosed) this.#handle(socket, slot);
      memory.release(slot);
    }
    this.trafficClass = 0;
  }

  #handle(socket: BatchSocket, slot: number): void {
    const { memory, queue } = this.#kernel;
    const { options, source } = socket;
    if (memory.isTruncated(slot)) return options.onDrop();
    memory.readSource(slot, socket.family, source);
    memory.readControl(slot);
    this.trafficClass = memory.trafficClass;
    const offset = memory.offset(slot);
    const length = memory.length(slot);
    const { segmentLength } = memory;
    if (segmentLength === 0 || segmentLength >= length) {
      options.onDatagram(memory.bytes, offset, length, source);
      return;
    }
    for (let at = 0; at < length && !socket.isClosed; at += segmentLength) {
      const start = offset + at;
      const size = Math.min(segmentLength, length - at);
      const place = queue.room(ROOM_AROUND + size + ROOM_AROUND) + ROOM_AROUND;
      memory.bytes.copyWithin(place, start, start + size);
      options.onDatagram(memory.bytes, place, size, source);
    }
  }
}

/** The address of a name, as Deno's own sockets find it. */
function resolved(hostname: string): IpAddress {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const { addr } = socket;
  socket.close();
  const address = addr.transport === "udp" ? parseIp(addr.hostname) : undefined;
  if (address === undefined) throw new Error(`${hostname} is not the address of an interface`);
  return address;
}
