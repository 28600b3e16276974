/**
 * UDP sockets of Linux, many datagrams with one call. While there is work, the kernel is asked
 * without waiting; then another thread waits for it, and JavaScript goes on with everything else.
 */

import { setImmediate } from "node:timers";
import { parseIp } from "../../../base/address.ts";
import { type AddressFamily, Endpoint } from "../../../base/endpoint.ts";
import type {
  DatagramSocket,
  DatagramSocketOptions,
  DatagramSockets,
  DatagramSource,
} from "../datagram_sockets.ts";
import type { BatchKernel } from "./batch_kernel.ts";
import { SLOTS } from "./packet_memory.ts";
import type { Sender } from "./send_queue.ts";
import { EAGAIN, EINTR, EPOLLERR, EPOLLIN } from "./socket_calls.ts";

/** Datagrams that are received with one call. */
const BATCH = 64;
/** After so many datagrams, or rounds of them, everything else of the process gets a turn. */
const DATAGRAMS_PER_TURN = 2_048;
const ROUNDS_PER_TURN = 128;
/** Receiving may fail so many times in a row before the socket counts as lost. */
const MAX_FAILURES = 16;
/** Before and behind a datagram of a row that was received as one. */
const ROOM_AROUND = 64;

/** The sockets of one owner. */
export class BatchDatagramSockets implements DatagramSockets {
  readonly #kernel: BatchKernel;
  readonly #epoll: number;
  readonly #bell: number;
  /** By descriptor. */
  readonly #sockets: (BatchSocket | undefined)[] = [];
  readonly #running: Promise<void>;
  #isClosed = false;
  /** Slots whose datagrams may wait to be sent. */
  #usedSlots = 0;
  /** What {@linkcode BatchSocket.send} queues is sent when this round ends. */
  isServing = false;
  /** DSCP and ECN of the datagram at hand. */
  trafficClass = 0;

  constructor(kernel: BatchKernel) {
    this.#kernel = kernel;
    this.#epoll = kernel.calls.createEpoll();
    this.#bell = kernel.calls.createBell();
    kernel.calls.watch(this.#epoll, this.#bell);
    this.#running = this.#run();
  }

  open(options: DatagramSocketOptions): DatagramSocket {
    const address = parseIp(options.hostname) ?? resolved(options.hostname);
    const name = new Endpoint(address, options.port);
    const { calls } = this.#kernel;
    const { fd, port } = calls.open(name, name.family);
    try {
      calls.setBuffers(fd, options.kernelBuffer);
      calls.tellTrafficClass(fd, name.family);
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

  async #run(): Promise<void> {
    const { calls } = this.#kernel;
    let datagrams = 0;
    let rounds = 0;
    while (!this.#isClosed) {
      const ready = calls.ready(this.#epoll, 0);
      if (ready <= 0) {
        await calls.whenReady(this.#epoll);
        datagrams = rounds = 0;
        continue;
      }
      datagrams += this.#serve(ready);
      if (datagrams < DATAGRAMS_PER_TURN && ++rounds < ROUNDS_PER_TURN) continue;
      await new Promise((resolve) => setImmediate(resolve));
      datagrams = rounds = 0;
    }
    calls.close(this.#bell);
    calls.close(this.#epoll);
  }

  /** Serves what is ready; how many datagrams came. */
  #serve(ready: number): number {
    const { calls } = this.#kernel;
    let datagrams = 0;
    this.isServing = true;
    try {
      for (let i = 0; i < ready; i++) {
        const socket = this.#sockets[calls.readyFd(i)];
        if (socket === undefined) continue;
        const flags = calls.readyFor(i);
        if ((flags & (EPOLLIN | EPOLLERR)) !== 0) datagrams += this.#receive(socket);
      }
    } finally {
      this.isServing = false;
      this.flush();
    }
    return datagrams;
  }

  /** Sends what waits, after which all slots are free. */
  flush(): void {
    this.#kernel.queue.flush();
    this.#usedSlots = 0;
  }

  /** Takes one batch of a socket, so that a busy one does not keep the others waiting. */
  #receive(socket: BatchSocket): number {
    const { memory } = this.#kernel;
    if (SLOTS - this.#usedSlots < BATCH) this.flush();
    const first = this.#usedSlots;
    const count = memory.receive(socket.fd, first, BATCH);
    if (count < 0) {
      socket.failed(memory.libc.errno);
      return 0;
    }
    this.#usedSlots += count;
    socket.failures = 0;
    for (let slot = first; slot < first + count; slot++) {
      if (!socket.isClosed) this.#handle(socket, slot);
      memory.release(slot);
    }
    this.trafficClass = 0;
    return count;
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

class BatchSocket implements DatagramSocket, Sender {
  readonly port: number;
  readonly fd: number;
  readonly family: AddressFamily;
  readonly options: DatagramSocketOptions;
  readonly source: BatchSource;
  firstQueued = -1;
  lastQueued = -1;
  /** Failures to receive in a row. */
  failures = 0;
  isClosed = false;
  readonly #owner: BatchDatagramSockets;
  readonly #kernel: BatchKernel;

  constructor(
    owner: BatchDatagramSockets,
    kernel: BatchKernel,
    options: DatagramSocketOptions,
    socket: { readonly fd: number; readonly port: number; readonly family: AddressFamily },
  ) {
    this.#owner = owner;
    this.#kernel = kernel;
    this.options = options;
    this.fd = socket.fd;
    this.port = socket.port;
    this.family = socket.family;
    this.source = new BatchSource(socket.family);
  }

  send(
    buffer: Uint8Array,
    offset: number,
    length: number,
    to: Endpoint,
    dontFragment = false,
  ): void {
    if (this.isClosed) return this.dropped(1);
    const { memory, queue } = this.#kernel;
    const isInPlace = buffer === memory.bytes;
    if (dontFragment) return this.#sendWhole(buffer, offset, length, to);
    if (isInPlace) queue.add(this, offset, length, to, this.#owner.trafficClass);
    else this.#addCopy(buffer, offset, length, to);
    if (!this.#owner.isServing) this.#owner.flush();
  }

  close(): void {
    if (this.isClosed) return;
    // What waits for it goes out before.
    if (this.firstQueued >= 0) this.#kernel.queue.flush();
    this.isClosed = true;
    this.#owner.forget(this.fd);
    this.#kernel.calls.close(this.fd);
  }

  dropped(count: number): void {
    for (let i = 0; i < count; i++) this.options.onDrop();
  }

  /** Receiving has failed. */
  failed(errno: number): void {
    if (errno === EAGAIN || errno === EINTR || ++this.failures < MAX_FAILURES) return;
    this.close();
    this.options.onLost(new Error(`receiving failed (errno ${errno})`));
  }

  /** The kernel is told for a whole socket, so what else waits for it goes before. */
  #sendWhole(buffer: Uint8Array, offset: number, length: number, to: Endpoint): void {
    const { calls, queue } = this.#kernel;
    queue.flush();
    calls.setDontFragment(this.fd, this.family, true);
    this.#addCopy(buffer, offset, length, to);
    queue.flush();
    calls.setDontFragment(this.fd, this.family, false);
  }

  #addCopy(buffer: Uint8Array, offset: number, length: number, to: Endpoint): void {
    const { memory, queue } = this.#kernel;
    const place = queue.room(length);
    memory.bytes.set(buffer.subarray(offset, offset + length), place);
    queue.add(this, place, length, to, 0);
  }
}

/** Where the datagram at hand comes from: one object for all datagrams of a socket. */
class BatchSource implements DatagramSource {
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  port = 0;
  readonly #family: AddressFamily;

  constructor(family: AddressFamily) {
    this.#family = family;
  }

  toEndpoint(): Endpoint {
    return Endpoint.fromWords(this, this.#family);
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
