/**
 * What waits to be sent, where it was received: one call of the kernel for all datagrams of a
 * socket, and one message of it for datagrams of one length to one address (UDP_SEGMENT).
 */

import type { AddressFamily, Endpoint } from "../../../base/endpoint.ts";
import { MAX_MESSAGES, type PacketMemory, SPARE, SPARE_LENGTH } from "./packet_memory.ts";
import { EAGAIN, EINTR } from "./socket_calls.ts";

/** Datagrams that may wait; their pieces fit into the messages of one call. */
const CAPACITY = MAX_MESSAGES;
const NONE = -1;
/** More than a path's MTU cannot be a segment, and most paths have that of Ethernet. */
const MAX_SEGMENT = 1_452;
/** Of one message, as the first kernels that could had it. */
const MAX_SEGMENTS = 64;
const MAX_JOINED = 65_000;

/** A socket that datagrams wait for: a list through the queue. */
export interface Sender {
  readonly fd: number;
  readonly family: AddressFamily;
  firstQueued: number;
  lastQueued: number;
  /** Datagrams that could not be sent. */
  dropped(count: number): void;
}

/** The queue of all sockets of this thread. */
export class SendQueue {
  readonly #memory: PacketMemory;
  readonly #to: Endpoint[] = [];
  readonly #offset = new Int32Array(CAPACITY);
  readonly #length = new Int32Array(CAPACITY);
  readonly #trafficClass = new Int32Array(CAPACITY);
  readonly #next = new Int32Array(CAPACITY);
  /** At which datagram of the queue a message begins. */
  readonly #firstOf = new Int32Array(MAX_MESSAGES + 1);
  readonly #senders: Sender[] = [];
  #senderCount = 0;
  #count = 0;
  #spare = 0;
  /** Where the kernel cannot cut a row of datagrams itself, each is a message. */
  joins = true;

  constructor(memory: PacketMemory) {
    this.#memory = memory;
  }

  /**
   * Queues what lies in the memory at `offset`, to stay there until {@linkcode flush}, and flushes
   * before when the queue is full. `to` is compared by identity.
   */
  add(sender: Sender, offset: number, length: number, to: Endpoint, trafficClass: number): void {
    if (this.#count === CAPACITY) this.flush();
    const entry = this.#count++;
    this.#to[entry] = to;
    this.#offset[entry] = offset;
    this.#length[entry] = length;
    this.#trafficClass[entry] = trafficClass;
    this.#next[entry] = NONE;
    if (sender.firstQueued === NONE) {
      sender.firstQueued = entry;
      this.#senders[this.#senderCount++] = sender;
    } else {
      this.#next[sender.lastQueued] = entry;
    }
    sender.lastQueued = entry;
  }

  /**
   * Takes room for `length` bytes in the memory, which is free again with the next flush. What is
   * added next does not flush: it may lie there.
   */
  room(length: number): number {
    if (this.#count === CAPACITY || this.#spare + length > SPARE_LENGTH) this.flush();
    const offset = SPARE + this.#spare;
    this.#spare += length + 63 & ~63;
    return offset;
  }

  /** Sends everything. */
  flush(): void {
    for (let i = 0; i < this.#senderCount; i++) {
      const sender = this.#senders[i]!;
      this.#flushSender(sender);
      sender.firstQueued = sender.lastQueued = NONE;
    }
    this.#senderCount = 0;
    this.#count = 0;
    this.#spare = 0;
  }

  #flushSender(sender: Sender): void {
    let entry = sender.firstQueued;
    let joins = this.joins;
    while (entry !== NONE) {
      const count = this.#writeMessages(sender.family, entry, joins);
      const stuck = this.#sendMessages(sender, count, joins);
      if (stuck === NONE) return;
      // What the kernel refuses to cut goes again, one by one.
      entry = stuck;
      joins = false;
    }
  }

  /** Writes messages for all datagrams of a socket from `entry` on; how many. */
  #writeMessages(family: AddressFamily, entry: number, joins: boolean): number {
    const memory = this.#memory;
    let message = 0;
    let piece = 0;
    while (entry !== NONE) {
      const to = this.#to[entry]!;
      const length = this.#length[entry]!;
      const trafficClass = this.#trafficClass[entry]!;
      const firstPiece = piece;
      this.#firstOf[message] = entry;
      memory.startMessage(message, to, family, piece);
      memory.setPiece(piece++, this.#offset[entry]!, length);
      entry = this.#next[entry]!;
      if (joins && length > 0 && length <= MAX_SEGMENT) {
        let total = length;
        let last = length;
        while (
          entry !== NONE && last === length && this.#length[entry]! <= length &&
          this.#length[entry]! > 0 && this.#to[entry] === to &&
          this.#trafficClass[entry] === trafficClass && piece - firstPiece < MAX_SEGMENTS &&
          total + length <= MAX_JOINED
        ) {
          last = this.#length[entry]!;
          total += last;
          memory.setPiece(piece++, this.#offset[entry]!, last);
          entry = this.#next[entry]!;
        }
      }
      const count = piece - firstPiece;
      memory.endMessage(message++, family, count, trafficClass, count > 1 ? length : 0);
    }
    this.#firstOf[message] = NONE;
    return message;
  }

  /** Returns the first datagram of a joined message that the kernel refuses, or NONE. */
  #sendMessages(sender: Sender, count: number, joins: boolean): number {
    const memory = this.#memory;
    let hasFailed = false;
    for (let message = 0; message < count;) {
      const sent = memory.send(sender.fd, message, count - message);
      if (sent > 0) {
        message += sent;
        hasFailed = false;
        continue;
      }
      const { errno } = memory.libc;
      if (errno === EINTR) continue;
      if (errno === EAGAIN) {
        sender.dropped(this.#entriesFrom(this.#firstOf[message]!, NONE));
        return NONE;
      }
      // The error may be that of a datagram sent before (ICMP), of which the kernel tells but once.
      if (!hasFailed) {
        hasFailed = true;
        continue;
      }
      const first = this.#firstOf[message]!;
      const next = this.#firstOf[message + 1]!;
      if (joins && this.#next[first] !== next) return first;
      sender.dropped(this.#entriesFrom(first, next));
      message++;
      hasFailed = false;
    }
    return NONE;
  }

  #entriesFrom(entry: number, end: number): number {
    let count = 0;
    for (; entry !== end; entry = this.#next[entry]!) count++;
    return count;
  }
}
