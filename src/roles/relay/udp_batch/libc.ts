/**
 * The functions of libc that the batching engine calls, by the names that glibc and musl share.
 * Every pointer is made here; what a pointer leads to is laid out in `packet_memory.ts`.
 */

const GLIBC = "libc.so.6";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "pointer", "u32"], result: "i32" },
  recvmmsg: { parameters: ["i32", "pointer", "u32", "i32", "pointer"], result: "i32" },
  sendmmsg: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  epollCreate: { name: "epoll_create1", parameters: ["i32"], result: "i32" },
  epollControl: { name: "epoll_ctl", parameters: ["i32", "i32", "i32", "pointer"], result: "i32" },
  epollWait: { name: "epoll_wait", parameters: ["i32", "pointer", "i32", "i32"], result: "i32" },
  /** The same on another thread, so that JavaScript's goes on meanwhile. */
  epollAwait: {
    name: "epoll_wait",
    parameters: ["i32", "pointer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  eventFd: { name: "eventfd", parameters: ["u32", "i32"], result: "i32" },
  eventFdWrite: { name: "eventfd_write", parameters: ["i32", "u64"], result: "i32" },
  errnoLocation: { name: "__errno_location", parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** A pointer into {@linkcode Libc.memory}. */
export type MemoryPointer = Deno.PointerObject;

/** libc, and the one block of memory that it is given addresses of. */
export class Libc {
  readonly symbols: Symbols;
  /** All that libc ever writes to or reads from. It is as long as the process and never moves. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** The halves of the block's address; the upper one is that of every byte of it. */
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly #address: bigint;
  readonly #errno: Int32Array;

  /**
   * Needs the permission for FFI, which may be given up afterwards.
   *
   * @throws {Error} where this is not Linux on x86-64 or arm64 or there is no libc to be had.
   */
  constructor(memoryLength: number) {
    const { os, arch } = Deno.build;
    if (os !== "linux") throw new Error(`it needs Linux, and this is ${os}`);
    this.symbols = open(arch).symbols;
    const location = this.symbols.errnoLocation();
    if (location === null) throw new Error("libc does not tell errors");
    this.#errno = new Int32Array(new Deno.UnsafePointerView(location).getArrayBuffer(4));
    [this.memory, this.#address] = allocate(memoryLength);
    this.addressLow = Number(BigInt.asIntN(32, this.#address));
    this.addressHigh = Number(this.#address >> 32n);
  }

  /** What went wrong in the last call that failed. */
  get errno(): number {
    return this.#errno[0]!;
  }

  /** Made once for each place: it costs an object. */
  pointer(offset: number): MemoryPointer {
    const pointer = Deno.UnsafePointer.create(this.#address + BigInt(offset));
    if (pointer === null) throw new Error("memory begins nowhere");
    return pointer;
  }
}

function open(arch: typeof Deno.build.arch): Deno.DynamicLibrary<typeof SYMBOLS> {
  try {
    return Deno.dlopen(GLIBC, SYMBOLS);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return Deno.dlopen(`libc.musl-${arch}.so.1`, SYMBOLS);
  }
}

/** Memory whose addresses differ in their lower halves only, so that 32 bits reckon with them. */
function allocate(length: number): [Uint8Array<ArrayBuffer>, bigint] {
  const refused: Uint8Array[] = [];
  for (;;) {
    const memory = new Uint8Array(length);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory));
    if (address >> 32n === address + BigInt(length) >> 32n) return [memory, address];
    // It stays taken until another piece has been found.
    refused.push(memory);
  }
}
