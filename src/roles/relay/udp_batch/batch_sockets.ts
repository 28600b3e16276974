/** UDP sockets of Linux, many datagrams with one call. */

import { parseIp } from "../../../base/address.ts";
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
  readonly #running: Promise<void>;
  #isClosed = false;
  #isFlushDue = false;
  /** Slots whose datagrams may wait to be sent. */
  #usedSlots = 0;
  isServing = false;
  trafficClass = 0;

  /** `run` lets it serve, round by round, until it is closed. */
  constructor(kernel: BatchKernel, run: (rounds: Rounds) => Promise<void> = besideEventLoop) {
    this.#kernel = kernel;
    this.#epoll = kernel.calls.createEpoll();
    this.#bell = kernel.calls.createBell();
    kernel.calls.watch(this.#epoll, this.#bell);
    this.#running = this.#serveUntilClosed(run);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  open(options: DatagramSocketOptions): DatagramSocket {
    const address = parseIp(options.hostname) ?? resolved(options.hostname);
    const name = new Endpoint(address, options.port);
    const { calls } = this.#kernel;
    const { fd, port } = calls.open(name, name.family);
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
        const socket = this.#sockets[calls.readyFd(i)];
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
function resolved(hostname: string): Uint8Array {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const { addr } = socket;
  socket.close();
  const address = addr.transport === "udp" ? parseIp(addr.hostname) : undefined;
  if (address === undefined) throw new Error(`${hostname} is not the address of an interface`);
  return address;
}
