/**
 * UDP sockets on the loopback that send and receive many datagrams with one call of libc, so that a
 * load generator in TypeScript stays well below the relays that it measures. Linux only.
 */

const AF_INET = 2;
/** Not closed at exec: a generator that is another program goes on with the socket. */
const SOCK_DGRAM_NONBLOCK = 2 | 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_RCVBUF = 8;
const MSG_DONTWAIT = 0x40;
const BATCH = 32;
/** `struct mmsghdr` and `struct iovec` of 64-bit systems. */
const HEADER_SIZE = 64;
const IOVEC_SIZE = 16;
const SLOT = 2_048;
const RECEIVE_BUFFER = 8_388_608;

const libc = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  sendmmsg: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  recvmmsg: { parameters: ["i32", "buffer", "u32", "i32", "pointer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
}).symbols;

/** What libc has the address of must stay reachable as long as the socket. */
interface Batch {
  readonly headers: Uint8Array<ArrayBuffer>;
  readonly lengths: DataView;
  readonly iovecs: DataView;
  readonly slots: Uint8Array<ArrayBuffer>;
}

/** One UDP socket on 127.0.0.1. */
export class BatchSocket {
  readonly port: number;
  readonly fd: number;
  readonly #out = makeBatch();
  readonly #in = makeBatch();

  /** Port 0 takes a free one. */
  constructor(port = 0) {
    this.fd = libc.socket(AF_INET, SOCK_DGRAM_NONBLOCK, 0);
    if (this.fd < 0) throw new Error("No file descriptor is left: raise ulimit -n");
    const size = new Uint8Array(new Int32Array([RECEIVE_BUFFER]).buffer);
    if (libc.setsockopt(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4) !== 0) {
      libc.setsockopt(this.fd, SOL_SOCKET, SO_RCVBUF, size, 4);
    }
    if (libc.bind(this.fd, loopback(port), 16) !== 0) throw new Error(`Cannot bind ${port}`);
    const name = loopback(0);
    libc.getsockname(this.fd, name, Uint8Array.of(16, 0, 0, 0));
    this.port = ((name[2] ?? 0) << 8) | (name[3] ?? 0);
  }

  /** From here on, datagrams go there and come from there only. */
  connect(port: number): void {
    if (libc.connect(this.fd, loopback(port), 16) !== 0) throw new Error("Cannot connect");
  }

  /** What {@linkcode send} sends. */
  load(datagram: Uint8Array): void {
    for (let i = 0; i < BATCH; i++) {
      this.#out.slots.set(datagram, i * SLOT);
      this.#out.iovecs.setBigUint64(i * IOVEC_SIZE + 8, BigInt(datagram.length), true);
    }
  }

  /** Sends the loaded datagram `count` times; returns how many the kernel took. */
  send(count: number): number {
    let sent = 0;
    while (sent < count) {
      const taken = libc.sendmmsg(
        this.fd,
        this.#out.headers,
        Math.min(BATCH, count - sent),
        MSG_DONTWAIT,
      );
      if (taken <= 0) break;
      sent += taken;
    }
    return sent;
  }

  /** Sends one datagram. */
  sendOne(datagram: Uint8Array): void {
    this.load(datagram);
    this.send(1);
  }

  /** Takes what has come, at most a batch; returns how many there are to {@linkcode received}. */
  receive(): number {
    return Math.max(0, libc.recvmmsg(this.fd, this.#in.headers, BATCH, MSG_DONTWAIT, null));
  }

  /** The datagram `i` of the last batch; overwritten by the next. */
  received(i: number): Uint8Array {
    const length = this.#in.lengths.getUint32(i * HEADER_SIZE + 56, true);
    return this.#in.slots.subarray(i * SLOT, i * SLOT + length);
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }
}

function makeBatch(): Batch {
  const slots = new Uint8Array(BATCH * SLOT);
  const iovecs = new DataView(new ArrayBuffer(BATCH * IOVEC_SIZE));
  const headers = new Uint8Array(BATCH * HEADER_SIZE);
  const lengths = new DataView(headers.buffer);
  const slotsAt = addressOf(slots);
  const iovecsAt = addressOf(new Uint8Array(iovecs.buffer));
  for (let i = 0; i < BATCH; i++) {
    iovecs.setBigUint64(i * IOVEC_SIZE, slotsAt + BigInt(i * SLOT), true);
    iovecs.setBigUint64(i * IOVEC_SIZE + 8, BigInt(SLOT), true);
    lengths.setBigUint64(i * HEADER_SIZE + 16, iovecsAt + BigInt(i * IOVEC_SIZE), true);
    lengths.setBigUint64(i * HEADER_SIZE + 24, 1n, true);
  }
  return { headers, lengths, iovecs, slots };
}

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

function loopback(port: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(AF_INET, 0, port >> 8, port & 0xff, 127, 0, 0, 1, ...new Uint8Array(8));
}
