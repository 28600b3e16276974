/**
 * Sends datagrams from one socket of this process to another before any of a stranger is handled:
 * that every structure is where it is taken to be shows in what arrives.
 */

import { type AddressFamily, Endpoint } from "../../../base/endpoint.ts";
import { type PacketMemory, SPARE } from "./packet_memory.ts";
import { EPOLLIN, type SocketCalls } from "./socket_calls.ts";

const LOOPBACK = {
  4: Uint8Array.of(127, 0, 0, 1),
  6: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
} as const;
const WITHIN_MS = 2_000;
const LENGTHS = [0, 1, 7, 160, 1_200, 9_000, 2] as const;
/** A row that is sent as one message: the last is shorter. */
const ROW = [500, 500, 500, 77] as const;
const TRAFFIC_CLASS = 0xb8;

/** What the kernel can do beyond that. */
export interface KernelFeatures {
  /** Whether it cuts a row of datagrams itself (UDP_SEGMENT). */
  readonly joins: boolean;
}

/** @throws {Error} that says what did not arrive as it was sent. */
export function selfTest(memory: PacketMemory, calls: SocketCalls): KernelFeatures {
  const features = pass(memory, calls, 4);
  try {
    calls.close(calls.open(new Endpoint(LOOPBACK[6], 0), 6).fd);
  } catch {
    // A machine without IPv6 has no use for the rest.
    return features;
  }
  return { joins: pass(memory, calls, 6).joins && features.joins };
}

function pass(memory: PacketMemory, calls: SocketCalls, family: AddressFamily): KernelFeatures {
  const name = new Endpoint(LOOPBACK[family], 0);
  using open = new DisposableStack();
  const epoll = open.adopt(calls.createEpoll(), (fd) => calls.close(fd));
  const sender = open.adopt(calls.open(name, family), ({ fd }) => calls.close(fd));
  const receiver = open.adopt(calls.open(name, family), ({ fd }) => calls.close(fd));
  const tellsClass = calls.tellTrafficClass(receiver.fd, family);
  calls.joinDatagrams(receiver.fd);
  calls.watch(epoll, receiver.fd);
  const from = new Endpoint(LOOPBACK[family], sender.port);
  const to = new Endpoint(LOOPBACK[family], receiver.port);

  let offset = SPARE;
  const place = (length: number) => {
    const start = offset;
    for (let i = 0; i < length; i++) memory.bytes[start + i] = pattern(start - SPARE + i);
    offset += length;
    return start;
  };
  for (const [message, length] of LENGTHS.entries()) {
    memory.startMessage(message, to, family, message);
    memory.setPiece(message, place(length), length);
    memory.endMessage(message, family, 1, length === 160 ? TRAFFIC_CLASS : 0, 0);
  }
  check(memory.send(sender.fd, 0, LENGTHS.length) === LENGTHS.length, "not all could be sent");
  let expected = SPARE;
  for (const length of LENGTHS) {
    check(isReady(calls, epoll, receiver.fd), "a socket with work was not told of");
    check(memory.receive(receiver.fd, 1, 1) === 1, "a datagram got lost");
    memory.readControl(1);
    const wanted = length === 160 && tellsClass ? TRAFFIC_CLASS : 0;
    check(memory.trafficClass === wanted, "DSCP and ECN got lost");
    check(memory.length(1) === length && !memory.isTruncated(1), "a length is wrong");
    checkSource(memory, family, from);
    expected = checkBytes(memory, memory.offset(1), length, expected);
    memory.release(1);
  }

  offset = SPARE;
  memory.startMessage(0, to, family, 0);
  for (const [piece, length] of ROW.entries()) memory.setPiece(piece, place(length), length);
  memory.endMessage(0, family, ROW.length, 0, ROW[0]);
  if (memory.send(sender.fd, 0, 1) !== 1) return { joins: false };
  expected = SPARE;
  for (let arrived = 0; arrived < ROW.length; memory.release(2)) {
    check(isReady(calls, epoll, receiver.fd), "a socket with work was not told of");
    check(memory.receive(receiver.fd, 2, 1) === 1, "a datagram of a row got lost");
    memory.readControl(2);
    const total = memory.length(2);
    const each = memory.segmentLength || total;
    for (let at = 0; at < total; at += each) {
      const length = Math.min(each, total - at);
      check(length === ROW[arrived++], "a row was cut elsewhere");
      expected = checkBytes(memory, memory.offset(2) + at, length, expected);
    }
  }
  return { joins: true };
}

function isReady(calls: SocketCalls, epoll: number, fd: number): boolean {
  return calls.ready(epoll, WITHIN_MS) === 1 && calls.readyFd(0) === fd &&
    calls.readyFor(0) === EPOLLIN;
}

function checkSource(memory: PacketMemory, family: AddressFamily, from: Endpoint): void {
  const source = { w0: 0, w1: 0, w2: 0, w3: 0, port: 0 };
  memory.readSource(1, family, source);
  const same = source.port === from.port && source.w0 === from.w0 && source.w1 === from.w1 &&
    source.w2 === from.w2 && source.w3 === from.w3;
  check(same, "an address is wrong");
}

/** Returns where what comes next is expected. */
function checkBytes(memory: PacketMemory, at: number, length: number, expected: number): number {
  for (let i = 0; i < length; i++) {
    check(memory.bytes[at + i] === pattern(expected - SPARE + i), "a byte is wrong");
  }
  return expected + length;
}

/** A byte that tells where it was put. */
function pattern(i: number): number {
  return i * 31 + (i >>> 8) & 0xff;
}

function check(isRight: boolean, otherwise: string): void {
  if (!isRight) throw new Error(`in its self-test ${otherwise}`);
}
