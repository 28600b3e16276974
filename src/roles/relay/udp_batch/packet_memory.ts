/**
 * The structures of Linux on 64-bit systems, x86-64 and arm64 alike: `struct mmsghdr` with its
 * `iovec`, `sockaddr` and control messages, all at fixed places of one block of memory. Integers
 * are written in place, and no packet makes an object.
 */

import type { AddressFamily, AddressWords } from "../../../base/endpoint.ts";
import type { IcmpReport } from "../../../protocol/turn/icmp_indication.ts";
import { HEADROOM } from "../../../protocol/turn/relay_data.ts";
import { Libc, type MemoryPointer } from "./libc.ts";

/** Datagrams that may have been received and not yet been sent on. */
export const SLOTS = 256;
/** Messages, and pieces of them, that one call may send. */
export const MAX_MESSAGES = 256;
/** Bytes for what is sent from elsewhere than where it was received. */
export const SPARE_LENGTH = 524_288;
/** No UDP datagram is longer, and no row of them that the kernel has joined. */
const SLOT_ROOM = 65_536;
/**
 * More than headroom and tailroom, and not a power of two: the first bytes of all slots would share
 * a few lines of the cache.
 */
const SLOT_STRIDE = SLOT_ROOM + 33 * 64;

const AF_INET = 2;
const AF_INET6 = 10;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_ERRQUEUE = 0x2000;

/** `struct mmsghdr`. */
const HEADER = {
  size: 64,
  name: 0,
  nameLength: 8,
  pieces: 16,
  pieceCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
} as const;
/** `struct iovec`. */
const PIECE = { size: 16, base: 0, length: 8 } as const;
/** `struct sockaddr_in6`, whose first four bytes are those of `sockaddr_in`, in 32 bytes. */
const NAME = { size: 32, v4Length: 16, v6Length: 28, v4Address: 4, v6Address: 8 } as const;
/** `struct cmsghdr`: its length is that of header and value, without padding. */
const CONTROL = { headerSize: 16, level: 8, type: 12, size: 128 } as const;

const SOL_IP = 0;
const IP_TOS = 1;
const IP_RECVERR = 11;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const SOL_IPV6 = 41;
const IPV6_RECVERR = 25;
const IPV6_TCLASS = 67;

/** One more than the slots: errors are read into the last. */
const ERROR_SLOT = SLOTS;
const IN_HEADERS = 0;
const IN_PIECES = IN_HEADERS + (SLOTS + 1) * HEADER.size;
const IN_NAMES = IN_PIECES + (SLOTS + 1) * PIECE.size;
const IN_CONTROL = IN_NAMES + (SLOTS + 1) * NAME.size;
const OUT_HEADERS = IN_CONTROL + (SLOTS + 1) * CONTROL.size;
const OUT_PIECES = OUT_HEADERS + MAX_MESSAGES * HEADER.size;
const OUT_NAMES = OUT_PIECES + MAX_MESSAGES * PIECE.size;
const OUT_CONTROL = OUT_NAMES + MAX_MESSAGES * NAME.size;
/** For calls that are made once in a while. */
export const SCRATCH = OUT_CONTROL + MAX_MESSAGES * CONTROL.size;
export const SCRATCH_LENGTH = 8_192;
const PACKETS = SCRATCH + SCRATCH_LENGTH;
export const SPARE = PACKETS + (SLOTS + 1) * SLOT_STRIDE;
const MEMORY_LENGTH = SPARE + SPARE_LENGTH;

export type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Where datagrams lie while they pass. */
export class PacketMemory {
  readonly libc: Libc;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  /** Of the datagram that {@linkcode readControl} has looked at: DSCP and ECN. */
  trafficClass = 0;
  /** The same: the length of each datagram in a row of them, or 0 for a single one. */
  segmentLength = 0;
  readonly #in: readonly MemoryPointer[];
  readonly #out: readonly MemoryPointer[];

  /** @throws {Error} see {@linkcode Libc}. */
  constructor() {
    this.libc = new Libc(MEMORY_LENGTH);
    this.bytes = this.libc.memory;
    this.words = new Int32Array(this.bytes.buffer);
    const pointers = (base: number, count: number) =>
      Array.from({ length: count }, (_, i) => this.libc.pointer(base + i * HEADER.size));
    this.#in = pointers(IN_HEADERS, SLOTS + 1);
    this.#out = pointers(OUT_HEADERS, MAX_MESSAGES);
    for (let slot = 0; slot <= SLOTS; slot++) {
      const header = IN_HEADERS + slot * HEADER.size;
      const piece = IN_PIECES + slot * PIECE.size;
      this.#address(header + HEADER.name, IN_NAMES + slot * NAME.size);
      this.#address(header + HEADER.pieces, piece);
      this.#put(header + HEADER.pieceCount, 1);
      this.#address(header + HEADER.control, IN_CONTROL + slot * CONTROL.size);
      this.#address(piece + PIECE.base, this.offset(slot));
      this.#put(piece + PIECE.length, SLOT_ROOM);
      this.release(slot);
    }
    for (let message = 0; message < MAX_MESSAGES; message++) {
      const header = OUT_HEADERS + message * HEADER.size;
      this.#address(header + HEADER.name, OUT_NAMES + message * NAME.size);
      this.#address(header + HEADER.control, OUT_CONTROL + message * CONTROL.size);
    }
  }

  /** Receives at most `count` datagrams into slots from `first` on; below 0 when there are none. */
  receive(fd: number, first: number, count: number): number {
    return this.libc.symbols.recvmmsg(fd, this.#in[first]!, count, MSG_DONTWAIT, null);
  }

  /** Where the datagram of a slot begins, with room for headers before it. */
  offset(slot: number): number {
    return PACKETS + slot * SLOT_STRIDE + HEADROOM;
  }

  length(slot: number): number {
    return this.#get(IN_HEADERS + slot * HEADER.size + HEADER.length);
  }

  /** Whether the datagram was longer than the slot. */
  isTruncated(slot: number): boolean {
    return (this.#get(IN_HEADERS + slot * HEADER.size + HEADER.flags) & MSG_TRUNC) !== 0;
  }

  /** Writes where the datagram of a slot comes from. */
  readSource(slot: number, family: AddressFamily, into: Mutable<AddressWords>): void {
    const { bytes } = this;
    const name = IN_NAMES + slot * NAME.size;
    into.port = bytes[name + 2]! << 8 | bytes[name + 3]!;
    const address = name + (family === 4 ? NAME.v4Address : NAME.v6Address);
    into.w0 = swapped(this.#get(address));
    if (family === 4) return;
    into.w1 = swapped(this.#get(address + 4));
    into.w2 = swapped(this.#get(address + 8));
    into.w3 = swapped(this.#get(address + 12));
  }

  /** Reads what else the kernel tells of the datagram of a slot. */
  readControl(slot: number): void {
    this.trafficClass = 0;
    this.segmentLength = 0;
    const end = this.#controlEnd(slot);
    for (let at = IN_CONTROL + slot * CONTROL.size; at < end;) {
      const level = this.#get(at + CONTROL.level);
      const type = this.#get(at + CONTROL.type);
      const value = at + CONTROL.headerSize;
      if (level === SOL_IP && type === IP_TOS) this.trafficClass = this.bytes[value]!;
      else if (level === SOL_IPV6 && type === IPV6_TCLASS) this.trafficClass = this.#get(value);
      else if (level === SOL_UDP && type === UDP_GRO) this.segmentLength = this.#get(value);
      at = this.#nextControl(at, end);
    }
  }

  /** Makes a slot ready to receive again; what came lies there until then. */
  release(slot: number): void {
    const header = IN_HEADERS + slot * HEADER.size;
    this.#put(header + HEADER.nameLength, NAME.v6Length);
    this.#put(header + HEADER.controlLength, CONTROL.size);
    this.#put(header + HEADER.flags, 0);
  }

  /**
   * Takes an error from a socket's queue. Writes to which address the datagram went that came to
   * nothing, and what ICMP said; `type` is -1 of an error that has another origin. Returns whether
   * there was one.
   */
  readError(
    fd: number,
    family: AddressFamily,
    to: Mutable<AddressWords>,
    report: Mutable<IcmpReport>,
  ): boolean {
    const { recvmmsg } = this.libc.symbols;
    const flags = MSG_ERRQUEUE | MSG_DONTWAIT;
    if (recvmmsg(fd, this.#in[ERROR_SLOT]!, 1, flags, null) !== 1) return false;
    this.readSource(ERROR_SLOT, family, to);
    report.type = -1;
    const [wanted, option] = family === 4 ? [SOL_IP, IP_RECVERR] : [SOL_IPV6, IPV6_RECVERR];
    const end = this.#controlEnd(ERROR_SLOT);
    for (let at = IN_CONTROL + ERROR_SLOT * CONTROL.size; at < end;) {
      const isError = this.#get(at + CONTROL.level) === wanted &&
        this.#get(at + CONTROL.type) === option;
      if (isError) this.#readExtendedError(at + CONTROL.headerSize, family, report);
      at = this.#nextControl(at, end);
    }
    this.release(ERROR_SLOT);
    return true;
  }

  /** Begins a message to an address; its pieces are those from `firstPiece` on. */
  startMessage(message: number, to: AddressWords, family: AddressFamily, firstPiece: number): void {
    const header = OUT_HEADERS + message * HEADER.size;
    const name = OUT_NAMES + message * NAME.size;
    const port = (to.port & 0xff) << 24 | (to.port & 0xff00) << 8;
    const address = name + (family === 4 ? NAME.v4Address : NAME.v6Address);
    this.#address(header + HEADER.pieces, OUT_PIECES + firstPiece * PIECE.size);
    this.#put(header + HEADER.nameLength, family === 4 ? NAME.v4Length : NAME.v6Length);
    this.#put(name, (family === 4 ? AF_INET : AF_INET6) | port);
    this.#put(address, swapped(to.w0));
    if (family === 4) return;
    this.#put(address + 4, swapped(to.w1));
    this.#put(address + 8, swapped(to.w2));
    this.#put(address + 12, swapped(to.w3));
  }

  setPiece(piece: number, offset: number, length: number): void {
    const at = OUT_PIECES + piece * PIECE.size;
    this.#address(at + PIECE.base, offset);
    this.#put(at + PIECE.length, length);
  }

  /** Ends a message; a `segmentLength` that is not 0 makes a datagram of each piece. */
  endMessage(
    message: number,
    family: AddressFamily,
    pieceCount: number,
    trafficClass: number,
    segmentLength: number,
  ): void {
    const header = OUT_HEADERS + message * HEADER.size;
    const control = OUT_CONTROL + message * CONTROL.size;
    let end = control;
    if (trafficClass !== 0) {
      if (family === 4) end = this.#putControl(end, SOL_IP, IP_TOS, 4, trafficClass);
      else end = this.#putControl(end, SOL_IPV6, IPV6_TCLASS, 4, trafficClass);
    }
    if (segmentLength !== 0) {
      end = this.#putControl(end, SOL_UDP, UDP_SEGMENT, 2, segmentLength);
    }
    this.#put(header + HEADER.pieceCount, pieceCount);
    this.#put(header + HEADER.controlLength, end - control);
  }

  /** Sends messages from `first` on; how many the kernel took, below 0 when not even the first. */
  send(fd: number, first: number, count: number): number {
    return this.libc.symbols.sendmmsg(fd, this.#out[first]!, count, MSG_DONTWAIT);
  }

  #controlEnd(slot: number): number {
    const length = this.#get(IN_HEADERS + slot * HEADER.size + HEADER.controlLength);
    return IN_CONTROL + slot * CONTROL.size + Math.min(length, CONTROL.size);
  }

  /** A length that cannot be ends the walk. */
  #nextControl(at: number, end: number): number {
    const length = this.#get(at);
    return length < CONTROL.headerSize ? end : at + (length + 7 & ~7);
  }

  /** `struct sock_extended_err`: errno, origin, type, code, padding, information. */
  #readExtendedError(at: number, family: AddressFamily, report: Mutable<IcmpReport>): void {
    const origin = this.bytes[at + 4]!;
    if (origin !== (family === 4 ? 2 : 3)) return;
    report.type = this.bytes[at + 5]!;
    report.code = this.bytes[at + 6]!;
    report.mtu = this.#get(at + 8);
  }

  #putControl(at: number, level: number, type: number, length: number, value: number): number {
    this.#put(at, CONTROL.headerSize + length);
    this.#put(at + 4, 0);
    this.#put(at + CONTROL.level, level);
    this.#put(at + CONTROL.type, type);
    this.#put(at + CONTROL.headerSize, value);
    return at + CONTROL.headerSize + 8;
  }

  #address(at: number, offset: number): void {
    this.words[at >> 2] = this.libc.addressLow + offset | 0;
    this.words[at + 4 >> 2] = this.libc.addressHigh;
  }

  #put(at: number, value: number): void {
    this.words[at >> 2] = value;
  }

  #get(at: number): number {
    return this.words[at >> 2]!;
  }
}

/** Network order from that of the machine, and back: both architectures are little-endian. */
function swapped(word: number): number {
  return word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24;
}
