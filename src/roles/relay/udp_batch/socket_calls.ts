/** What is done to a socket once in its life, and the epoll that tells which of them have work. */

import { readU16, writeU16, writeU32 } from "../../../base/bytes.ts";
import type { AddressFamily, AddressWords } from "../../../base/endpoint.ts";
import type { MemoryPointer } from "./libc.ts";
import { MAX_MESSAGES, type PacketMemory, SCRATCH } from "./packet_memory.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_RECVERR = 11;
const IP_RECVTOS = 13;
const SOL_UDP = 17;
const UDP_GRO = 104;
const SOL_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_RECVERR = 25;
const IPV6_V6ONLY = 26;
const IPV6_RECVTCLASS = 66;
/** Sets DF where the path's MTU is known to be large enough, as is usual; or always. */
const PMTUDISC_WANT = 1;
const PMTUDISC_DO = 2;

const EPOLL_CLOEXEC = 0o2000000;
const EFD_NONBLOCK_CLOEXEC = 0o2004000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
export const EPOLLIN = 1;
export const EPOLLERR = 8;
/** Tells of work once, when it comes. */
const EPOLLET = 1 << 31;
/** The kernel packs `struct epoll_event` on x86-64 only. */
const EVENT_SIZE = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_SIZE - 8;
const MAX_EVENTS = MAX_MESSAGES;

const EACCES = 13;
const EADDRINUSE = 98;
const EADDRNOTAVAIL = 99;

/** `errno` of calls on the packet path. */
export const EINTR = 4;
export const EAGAIN = 11;

const VALUE = SCRATCH;
const NAME = SCRATCH + 16;
const EVENT = SCRATCH + 64;
/** Written by a wait on another thread at any time; nobody reads it. */
const AWAITED_EVENT = SCRATCH + 96;
const EVENTS = SCRATCH + 128;

/** Calls that take and give numbers. */
export class SocketCalls {
  readonly #memory: PacketMemory;
  readonly #value: MemoryPointer;
  readonly #name: MemoryPointer;
  readonly #event: MemoryPointer;
  readonly #awaited: MemoryPointer;
  readonly #events: MemoryPointer;
  /** Whether buffers may be larger than is usual, as far as is known: the right is a process's. */
  #mayForce = true;

  constructor(memory: PacketMemory) {
    this.#memory = memory;
    const { libc } = memory;
    this.#value = libc.pointer(VALUE);
    this.#name = libc.pointer(NAME);
    this.#event = libc.pointer(EVENT);
    this.#awaited = libc.pointer(AWAITED_EVENT);
    this.#events = libc.pointer(EVENTS);
  }

  /**
   * Opens a UDP socket on an address of this machine. Returns its descriptor and port. Several that
   * are shared may have one address: the kernel spreads senders over them.
   *
   * @throws what `Deno.listenDatagram` would: `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`.
   */
  open(
    to: AddressWords,
    family: AddressFamily,
    isShared = false,
  ): { readonly fd: number; readonly port: number } {
    const { symbols } = this.#memory.libc;
    const kind = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = symbols.socket(family === 4 ? AF_INET : AF_INET6, kind, 0);
    if (fd < 0) throw this.#failure("open a socket");
    if (family === 6) this.#set(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    if (isShared) this.#set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    const length = this.#writeName(to, family);
    if (symbols.bind(fd, this.#name, length) !== 0) {
      const failure = this.#failure(`bind port ${to.port}`);
      symbols.close(fd);
      throw failure;
    }
    if (to.port !== 0) return { fd, port: to.port };
    this.#putWord(VALUE, length);
    symbols.getsockname(fd, this.#name, this.#value);
    return { fd, port: readU16(this.#memory.bytes, NAME + 2) };
  }

  close(fd: number): void {
    this.#memory.libc.symbols.close(fd);
  }

  /** Makes the socket's buffers as large as the system lets this process. */
  setBuffers(fd: number, length: number): void {
    if (this.#mayForce) {
      this.#mayForce = this.#set(fd, SOL_SOCKET, SO_RCVBUFFORCE, length) &&
        this.#set(fd, SOL_SOCKET, SO_SNDBUFFORCE, length);
      if (this.#mayForce) return;
    }
    this.#set(fd, SOL_SOCKET, SO_RCVBUF, length);
    this.#set(fd, SOL_SOCKET, SO_SNDBUF, length);
  }

  /** Lets datagrams tell their DSCP and ECN. */
  tellTrafficClass(fd: number, family: AddressFamily): boolean {
    return family === 4
      ? this.#set(fd, SOL_IP, IP_RECVTOS, 1)
      : this.#set(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
  }

  /** Lets ICMP errors be read. */
  tellErrors(fd: number, family: AddressFamily): boolean {
    return family === 4
      ? this.#set(fd, SOL_IP, IP_RECVERR, 1)
      : this.#set(fd, SOL_IPV6, IPV6_RECVERR, 1);
  }

  /** Lets the kernel hand over rows of datagrams as one. */
  joinDatagrams(fd: number): boolean {
    return this.#set(fd, SOL_UDP, UDP_GRO, 1);
  }

  /** Whether datagrams that are too long for the path are lost instead of fragmented. */
  setDontFragment(fd: number, family: AddressFamily, dontFragment: boolean): void {
    const way = dontFragment ? PMTUDISC_DO : PMTUDISC_WANT;
    if (family === 4) this.#set(fd, SOL_IP, IP_MTU_DISCOVER, way);
    else this.#set(fd, SOL_IPV6, IPV6_MTU_DISCOVER, way);
  }

  /** @throws {Error} when there are no more descriptors. */
  createEpoll(): number {
    const epoll = this.#memory.libc.symbols.epollCreate(EPOLL_CLOEXEC);
    if (epoll < 0) throw this.#failure("wait for sockets");
    return epoll;
  }

  /** A descriptor that {@linkcode ring} makes ready. @throws {Error} as above. */
  createBell(): number {
    const bell = this.#memory.libc.symbols.eventFd(0, EFD_NONBLOCK_CLOEXEC);
    if (bell < 0) throw this.#failure("wait for sockets");
    return bell;
  }

  ring(bell: number): void {
    this.#memory.libc.symbols.eventFdWrite(bell, 1n);
  }

  /** @throws {Error} when the kernel has no room for it. */
  watch(epoll: number, fd: number): void {
    this.#watchFor(epoll, fd, EPOLLIN);
  }

  /** The same for a bell, which is heard once each time that it is rung. */
  hear(epoll: number, bell: number): void {
    this.#watchFor(epoll, bell, EPOLLIN | EPOLLET);
  }

  #watchFor(epoll: number, fd: number, events: number): void {
    this.#putWord(EVENT, events);
    this.#putWord(EVENT + EVENT_DATA, fd);
    if (this.#memory.libc.symbols.epollControl(epoll, EPOLL_CTL_ADD, fd, this.#event) !== 0) {
      throw this.#failure("wait for a socket");
    }
  }

  unwatch(epoll: number, fd: number): void {
    this.#memory.libc.symbols.epollControl(epoll, EPOLL_CTL_DEL, fd, this.#event);
  }

  /** How many descriptors have work, after at most `milliseconds`. */
  ready(epoll: number, milliseconds: number): number {
    return this.#memory.libc.symbols.epollWait(epoll, this.#events, MAX_EVENTS, milliseconds);
  }

  /** Resolves as soon as there is work for some descriptor, if only for another thread. */
  whenReady(epoll: number): Promise<number> {
    return this.#memory.libc.symbols.epollAwait(epoll, this.#awaited, 1, -1);
  }

  /** The descriptor of event `i` of {@linkcode ready}. */
  readyFd(i: number): number {
    return this.#memory.words[EVENTS + i * EVENT_SIZE + EVENT_DATA >> 2]!;
  }

  /** The same: `EPOLLIN`, `EPOLLERR`. */
  readyFor(i: number): number {
    return this.#memory.words[EVENTS + i * EVENT_SIZE >> 2]!;
  }

  #set(fd: number, level: number, option: number, value: number): boolean {
    this.#putWord(VALUE, value);
    return this.#memory.libc.symbols.setsockopt(fd, level, option, this.#value, 4) === 0;
  }

  /** Returns the length of the name. */
  #writeName({ w0, w1, w2, w3, port }: AddressWords, family: AddressFamily): number {
    const { bytes } = this.#memory;
    this.#putWord(NAME, family === 4 ? AF_INET : AF_INET6);
    writeU16(bytes, NAME + 2, port);
    if (family === 4) {
      writeU32(bytes, NAME + 4, w0);
      return 16;
    }
    this.#putWord(NAME + 4, 0);
    for (const [i, word] of [w0, w1, w2, w3].entries()) writeU32(bytes, NAME + 8 + 4 * i, word);
    this.#putWord(NAME + 24, 0);
    return 28;
  }

  #putWord(at: number, value: number): void {
    this.#memory.words[at >> 2] = value;
  }

  #failure(doing: string): Error {
    const { errno } = this.#memory.libc;
    const message = `Cannot ${doing} (errno ${errno})`;
    switch (errno) {
      case EACCES:
        return new Deno.errors.PermissionDenied(message);
      case EADDRINUSE:
        return new Deno.errors.AddrInUse(message);
      case EADDRNOTAVAIL:
        return new Deno.errors.AddrNotAvailable(message);
      default:
        return new Error(message);
    }
  }
}
