/**
 * Many TCP clients on loopback at little cost: non-blocking sockets of libc behind one epoll, so
 * that a load generator in TypeScript stays well below the servers that it measures. Linux only.
 */

const AF_INET = 2;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const MSG_NOSIGNAL = 0x4000;
const MAX_EVENTS = 512;
/** The kernel packs `struct epoll_event` on x86-64 only. */
const EVENT_SIZE = Deno.build.arch === "x86_64" ? 12 : 16;
const DATA_OFFSET = EVENT_SIZE - 8;
/** Signals and other promises get a turn this often. */
const YIELD_EVERY_MS = 100;

// At module level: what libc has the address of must stay reachable.
const events = new DataView(new ArrayBuffer(MAX_EVENTS * EVENT_SIZE));
const eventBytes = new Uint8Array(events.buffer);
const oneEvent = new DataView(new ArrayBuffer(EVENT_SIZE));
const oneEventBytes = new Uint8Array(oneEvent.buffer);
const receiveBuffer = new Uint8Array(262_144);
const one = Uint8Array.of(1, 0, 0, 0);
const libc = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  epollCreate: { name: "epoll_create1", parameters: ["i32"], result: "i32" },
  epollCtl: { name: "epoll_ctl", parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epollWait: { name: "epoll_wait", parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
}).symbols;

const epoll = libc.epollCreate(0);
const sockets: (EpollSocket | undefined)[] = [];

/** What happens to a socket. */
export interface SocketEvents {
  onOpen(): void;
  /** `bytes` is overwritten by the next read. */
  onData(bytes: Uint8Array): void;
  /** The remote ended or broke it, or it was never accepted. Not called after an own `close`. */
  onEnd(): void;
}

/** One connection to 127.0.0.1. */
export class EpollSocket {
  readonly #fd: number;
  readonly #events: SocketEvents;
  #isOpen = false;
  #isClosed = false;
  #waiting: Uint8Array[] = [];

  /** `source` is the loopback address (127.x.y.z as an integer) that the server shall see. */
  constructor(port: number, source: number, events: SocketEvents) {
    this.#events = events;
    this.#fd = libc.socket(AF_INET, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw new Error("No file descriptor is left: raise ulimit -n");
    sockets[this.#fd] = this;
    libc.setsockopt(this.#fd, IPPROTO_TCP, TCP_NODELAY, one, 4);
    if (libc.bind(this.#fd, socketAddress(source, 0), 16) !== 0) throw new Error("Cannot bind");
    libc.connect(this.#fd, socketAddress(0x7f000001, port), 16);
    this.#watch(EPOLL_CTL_ADD, EPOLLOUT);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#isClosed) return;
    const sent = this.#waiting.length > 0 ? 0 : this.#sendNow(bytes);
    if (sent === bytes.length) return;
    this.#waiting.push(bytes.slice(sent));
    this.#watch(EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    sockets[this.#fd] = undefined;
    libc.close(this.#fd);
  }

  ready(flags: number): void {
    if (!this.#isOpen) {
      if ((flags & ~EPOLLOUT) !== 0) return this.#end();
      this.#isOpen = true;
      this.#watch(EPOLL_CTL_MOD, EPOLLIN);
      return this.#events.onOpen();
    }
    if ((flags & EPOLLOUT) !== 0) this.#flush();
    if ((flags & ~EPOLLOUT) === 0) return;
    const length = Number(libc.recv(this.#fd, receiveBuffer, BigInt(receiveBuffer.length), 0));
    if (length > 0) this.#events.onData(receiveBuffer.subarray(0, length));
    else this.#end();
  }

  #flush(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const sent = this.#sendNow(next as Uint8Array<ArrayBuffer>);
      if (sent < next.length) return void (this.#waiting[0] = next.subarray(sent));
      this.#waiting.shift();
    }
    this.#watch(EPOLL_CTL_MOD, EPOLLIN);
  }

  #sendNow(bytes: Uint8Array<ArrayBuffer>): number {
    return Math.max(0, Number(libc.send(this.#fd, bytes, BigInt(bytes.length), MSG_NOSIGNAL)));
  }

  #end(): void {
    this.close();
    this.#events.onEnd();
  }

  #watch(operation: number, flags: number): void {
    oneEvent.setUint32(0, flags, true);
    oneEvent.setInt32(DATA_OFFSET, this.#fd, true);
    if (libc.epollCtl(epoll, operation, this.#fd, oneEventBytes) !== 0) {
      throw new Error("epoll_ctl failed");
    }
  }
}

/** Serves the sockets until `done` says so; returns false when that took longer than `ms`. */
export async function serveSockets(done: () => boolean, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  let nextYield = performance.now() + YIELD_EVERY_MS;
  while (!done()) {
    const count = libc.epollWait(epoll, eventBytes, MAX_EVENTS, 10);
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_SIZE;
      sockets[events.getInt32(at + DATA_OFFSET, true)]?.ready(events.getUint32(at, true));
    }
    const now = performance.now();
    if (now >= end) return done();
    if (now >= nextYield) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      nextYield = now + YIELD_EVERY_MS;
    }
  }
  return true;
}

function socketAddress(address: number, port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  view.setUint32(4, address);
  return bytes;
}
