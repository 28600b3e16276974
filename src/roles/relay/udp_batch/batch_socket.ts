import { type AddressFamily, Endpoint } from "../../../base/endpoint.ts";
import type { DatagramSocket, DatagramSocketOptions, DatagramSource } from "../datagram_sockets.ts";
import type { BatchKernel } from "./batch_kernel.ts";
import type { Sender } from "./send_queue.ts";

/** Receiving may fail so many times in a row before the socket counts as lost. */
const MAX_FAILURES = 16;
/** Failures that no other datagram ends: EBADF, EFAULT, EINVAL, ENOTSOCK. */
const LASTING: ReadonlySet<number> = new Set([9, 14, 22, 88]);
/** Errors of one socket that are read in a row. */
const MAX_ERRORS = 16;
/** The error at hand. */
const icmp = { type: 0, code: 0, mtu: 0 };

/** Who owns a socket, as far as the socket needs it. */
export interface Outbox {
  /** While it is, what is queued goes out together with the rest of the round. */
  readonly isServing: boolean;
  /** DSCP and ECN of the datagram at hand. */
  readonly trafficClass: number;
  flush(): void;
  /** Sends what waits before anything else of the process has its turn. */
  flushSoon(): void;
  /** Forgets a socket that is about to be closed or belongs to another. */
  forget(fd: number): void;
}

/** One UDP socket. */
export class BatchSocket implements DatagramSocket, Sender {
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
  readonly #outbox: Outbox;
  readonly #kernel: BatchKernel;

  constructor(
    outbox: Outbox,
    kernel: BatchKernel,
    options: DatagramSocketOptions,
    socket: { readonly fd: number; readonly port: number; readonly family: AddressFamily },
  ) {
    this.#outbox = outbox;
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
    const { isServing } = this.#outbox;
    const isInPlace = isServing && buffer === memory.bytes;
    if (dontFragment) return this.#sendWhole(buffer, offset, length, to);
    if (isInPlace) queue.add(this, offset, length, to, this.#outbox.trafficClass);
    else this.#addCopy(buffer, offset, length, to);
    if (!isServing) this.#outbox.flushSoon();
  }

  close(): void {
    if (this.isClosed) return;
    this.detach();
    this.#kernel.calls.close(this.fd);
  }

  detach(): number {
    // What waits for it goes out before.
    if (this.firstQueued >= 0) this.#kernel.queue.flush();
    this.isClosed = true;
    this.#outbox.forget(this.fd);
    return this.fd;
  }

  dropped(count: number): void {
    for (let i = 0; i < count; i++) this.options.onDrop();
  }

  /** Takes a bounded number of errors; those that are left are told of again. */
  readErrors(): void {
    const { memory } = this.#kernel;
    const { onIcmp } = this.options;
    for (let i = 0; i < MAX_ERRORS && !this.isClosed; i++) {
      if (!memory.readError(this.fd, this.family, this.source, icmp)) return;
      if (icmp.type >= 0) onIcmp?.(this.source, icmp);
    }
  }

  /** Receiving has failed: mostly there was nothing left, or an error of a datagram sent before. */
  failed(errno: number): void {
    if (!LASTING.has(errno) || ++this.failures < MAX_FAILURES) return;
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
