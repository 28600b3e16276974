/** Bytes that no honest program sends, always the same ones for the same seed. */

import { concatBytes, u32, utf8 } from "../../src/base/bytes.ts";

export class Garbage {
  #state: number;

  constructor(readonly seed: string) {
    this.#state = [...utf8(seed)].reduce((hash, byte) => Math.imul(hash ^ byte, 16_777_619), 0);
  }

  /** Uniform in [0, below). */
  below(below: number): number {
    return this.#next() % below;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.#next() >>> 24);
  }

  one<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError("Nothing to choose from");
    return choice;
  }

  /** `bytes` with a few bits flipped, cut off, continued, or with a piece of it replaced. */
  mangled(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const copy = bytes.slice();
    switch (this.below(5)) {
      case 0:
        return copy.slice(0, this.below(copy.length + 1));
      case 1:
        return concatBytes(copy, this.bytes(1 + this.below(16)));
      case 2: {
        const at = this.below(copy.length + 1);
        copy.set(this.bytes(Math.min(4, copy.length - at)), at);
        return copy;
      }
      default:
        for (let flips = 1 + this.below(3); flips > 0 && copy.length > 0; flips--) {
          const at = this.below(copy.length);
          copy[at] = copy[at]! ^ 1 << this.below(8);
        }
        return copy;
    }
  }

  /** Mulberry32. */
  #next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return (t ^ t >>> 14) >>> 0;
  }
}

/** What a decoder of CBOR might stumble over: lengths that lie, depth, and what we never write. */
export function brokenCbor(garbage: Garbage): Uint8Array[] {
  const hex = [
    "", // nothing
    "5b7fffffffffffffff", // 2^63 - 1 bytes are to follow
    "7b00000000ffffffff61", // 2^32 - 1 bytes of text
    "9bffffffffffffffff", // 2^64 - 1 items
    "9a7fffffff00", // 2^31 - 1 items
    "bb0000000100000000", // 2^32 entries
    "bf0102ff", // a map of indefinite length
    "5f41ff41ffff", // bytes in pieces
    "a2010101ff", // a break where a value belongs
    "a2000000", // a map cut off
    "a200010002", // the same key twice
    "a1c101", // a tag as a value's start
    "a1fb3ff000000000000000", // a float as a key
    "a100fb7ff8000000000000", // not a number
    "a161ff00", // text that is not UTF-8
    "a10038ff", // a negative integer
    "a11b7fffffffffffffff00", // a key beyond 2^53
    "a1001800", // an integer in more bytes than necessary
    "a00000", // bytes behind the end
    "f7",
    "ff",
    "1c",
    "d9d9f7a0",
  ];
  return [
    ...hex.map((text) => Uint8Array.fromHex(text)),
    new Uint8Array(1_000).fill(0x81), // a thousand arrays in one another
    new Uint8Array(1_000).fill(0xa1),
    concatBytes(Uint8Array.of(0x9a), u32(3_000), new Uint8Array(3_000)), // more items than allowed
    ...[1, 16, 34, 300].map((length) => garbage.bytes(length)),
  ];
}

/** What a port that expects HTTP might be told; none of it is a request that it has to answer. */
export function brokenHttp(garbage: Garbage, path: string): Uint8Array[] {
  const local = "host: localhost\r\n";
  const upgrade = `GET ${path} HTTP/1.1\r\n${local}connection: Upgrade\r\nupgrade: websocket\r\n`;
  const texts = [
    "\r\n\r\n\r\n",
    "GET",
    "GET / HTTP/1.1\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    `GET / HTTP/1.1\r\n${"x".repeat(100_000)}`,
    `GET /${"a".repeat(50_000)} HTTP/1.1\r\n${local}\r\n`,
    `GET / HTTP/1.1\r\n${local}${"x: y\r\n".repeat(5_000)}\r\n`,
    `GET / HTTP/1.1\r\nhost: [\r\n\r\n`,
    `GET / HTTP/1.1\r\nhost: a b\r\nhost: c\r\n\r\n`,
    "GET / HTTP/1.1\r\n\r\n",
    `GET http://[ HTTP/1.1\r\n${local}\r\n`,
    `GET //[ HTTP/1.1\r\n${local}\r\n`,
    `GET \\..\\%zz?%00#\u00ff HTTP/1.1\r\n${local}\r\n`,
    `GET /../../etc/passwd HTTP/1.1\r\n${local}authorization: Bearer\r\n\r\n`,
    `GET /queues HTTP/1.1\r\n${local}authorization: Bearer ${"\u00ff".repeat(8_000)}\r\n\r\n`,
    `POST /peers HTTP/1.1\r\n${local}content-length: -1\r\n\r\n`,
    `POST /peers HTTP/1.1\r\n${local}content-length: 99999999999\r\n\r\nand no more`,
    `POST /peers HTTP/1.1\r\n${local}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n`,
    `POST /peers HTTP/1.1\r\n${local}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0`,
    `CONNECT localhost:1 HTTP/1.1\r\n${local}\r\n`,
    `OPTIONS * HTTP/1.1\r\n${local}\r\n`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    `${upgrade}\r\n`,
    `${upgrade}sec-websocket-version: 7\r\nsec-websocket-key: x\r\n\r\n`,
    `${upgrade}sec-websocket-version: 13\r\nsec-websocket-key: ${"A".repeat(9_000)}\r\n\r\n`,
    `${upgradeRequest(path).replace("13", "13\r\nsec-websocket-protocol: ,, ,\u00e9")}`,
    `${upgradeRequest(path).replace("13", "13\r\nsec-websocket-extensions: a;;=,")}`,
    `GET ${path} HTTP/1.1\r\n${local}connection: Upgrade\r\nupgrade: h2c\r\n\r\n`,
  ];
  return [
    ...texts.map((text) => utf8(text)),
    Uint8Array.fromHex("16030100a5010000a10303"), // the beginning of a TLS handshake
    ...[1, 100, 5_000].map((length) => garbage.bytes(length)),
  ];
}

/** A request for a WebSocket that is right in all parts (RFC 6455, section 4.1). */
export function upgradeRequest(path: string, token?: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
    (token === undefined ? "" : `authorization: Bearer ${token}\r\n`) + "\r\n";
}

/** What may follow an upgrade: frames that break RFC 6455, and sound ones of senseless content. */
export function brokenWebSocketFrames(garbage: Garbage): Uint8Array[] {
  const mask = new Uint8Array(4);
  const frame = (first: number, payload: Uint8Array) => {
    const { length } = payload;
    const head = length < 126
      ? [0x80 | length]
      : length < 65_536
      ? [0xfe, length >> 8, length & 0xff]
      : [0xff, 0, 0, 0, 0, ...u32(length)];
    return concatBytes(Uint8Array.of(first, ...head), mask, payload);
  };
  const [text, binary, close, ping] = [0x81, 0x82, 0x88, 0x89];
  return [
    ...[1, 14, 500, 70_000].map((length) => garbage.bytes(length)),
    Uint8Array.of(binary, 5, 1, 2, 3, 4, 5), // not masked
    frame(0xf2, garbage.bytes(20)), // all reserved bits
    frame(0x83, garbage.bytes(20)), // reserved opcodes
    frame(0x8f, garbage.bytes(20)),
    frame(0x80, garbage.bytes(20)), // continues nothing
    concatBytes(frame(0x02, garbage.bytes(20)), frame(binary, garbage.bytes(20))),
    frame(ping, garbage.bytes(300)), // a control frame that is too long
    frame(0x09, garbage.bytes(3)), // and one in parts
    frame(close, Uint8Array.of(1)),
    frame(close, Uint8Array.of(0, 1, 0xff)),
    Uint8Array.of(binary, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0), // 2^63 - 1
    Uint8Array.of(binary, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0),
    frame(binary, garbage.bytes(65_537)),
    frame(text, utf8("hello?")),
    frame(text, Uint8Array.of(0xff, 0xfe)),
    frame(text, utf8(JSON.stringify({ type: "query", topic: "x".repeat(10_000) }))),
    concatBytes(...Array.from({ length: 500 }, () => frame(ping, new Uint8Array(0)))),
    concatBytes(...Array.from({ length: 500 }, () => frame(binary, new Uint8Array(0)))),
    ...[1, 32, 96, 4_000, 65_535].map((length) => frame(binary, garbage.bytes(length))),
    ...brokenCbor(garbage).map((bytes) => frame(binary, bytes)),
  ];
}
