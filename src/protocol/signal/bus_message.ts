import { concatBytes, readU32, toHex, u32 } from "../../base/bytes.ts";

/** The only form there is so far; a message of another one is not understood. */
const VERSION = 1;
/** Bytes that tell one server on a bus from the others, anew at each of its starts. */
export const ORIGIN_LENGTH = 8;
/** What stands in front of the frame: version, origin, and the number as 32 bits, big-endian. */
export const BUS_HEAD_LENGTH = 1 + ORIGIN_LENGTH + 4;
const NUMBERS = 2 ** 32;
/** So far ahead of what is next a number tells of a gap; beyond, or far behind, counting began anew. */
const LONGEST_GAP = 65_536;
/** So far behind what is next a number was there before. */
const LATEST_REPEAT = 64;

/** A relay as one signaling server tells it to the others. */
export interface BusMessage {
  /** Which server tells it, in hexadecimal. */
  readonly origin: string;
  /** Counts what the origin told about the topic, from a number that chance chose. */
  readonly number: number;
  /** The frame as its listeners get it; a view on the message. */
  readonly frame: Uint8Array;
}

/** `origin` of {@linkcode ORIGIN_LENGTH} bytes, `number` below 2^32. */
export function encodeBusMessage(
  origin: Uint8Array,
  number: number,
  frame: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return concatBytes(Uint8Array.of(VERSION), origin, u32(number), frame);
}

/** `undefined` for what is no such message. */
export function decodeBusMessage(bytes: Uint8Array): BusMessage | undefined {
  if (bytes.length < BUS_HEAD_LENGTH || bytes[0] !== VERSION) return undefined;
  return {
    origin: toHex(bytes.subarray(1, 1 + ORIGIN_LENGTH)),
    number: readU32(bytes, 1 + ORIGIN_LENGTH),
    frame: bytes.subarray(BUS_HEAD_LENGTH),
  };
}

/** Numbers what is told about each of the topics that were told about last. */
export class TopicNumbers {
  readonly #next: NextNumbers;
  readonly #first: () => number;

  /**
   * Remembers `most` topics; the one that was silent longest begins anew, at `first()`: by chance one
   * of all numbers below 2^32, so that nobody takes what follows for a repeat.
   */
  constructor(most: number, first: () => number) {
    this.#next = new NextNumbers(most);
    this.#first = first;
  }

  take(topic: string): number {
    const number = this.#next.of(topic) ?? this.#first();
    this.#next.note(topic, number);
    return number;
  }
}

/** Looks for what is missing between the messages about one topic. */
export class GapCount {
  readonly #next: NextNumbers;

  /** Remembers `most` of those who tell; the one that was silent longest is forgotten. */
  constructor(most: number) {
    this.#next = new NextNumbers(most);
  }

  /** How many messages are missing in front of this one; `undefined` when it was there before. */
  missing(origin: string, number: number): number | undefined {
    const ahead = distance(this.#next.of(origin) ?? number, number);
    if (NUMBERS - ahead <= LATEST_REPEAT) return undefined;
    this.#next.note(origin, number);
    return ahead <= LONGEST_GAP ? ahead : 0;
  }
}

/** How far `to` lies ahead of `from`, around the end of all numbers. */
function distance(from: number, to: number): number {
  return (to - from + NUMBERS) % NUMBERS;
}

/** What number comes next, of those that were noted last. */
class NextNumbers {
  readonly #most: number;
  /** The one that was noted longest ago stands first. */
  readonly #next = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  of(name: string): number | undefined {
    return this.#next.get(name);
  }

  note(name: string, number: number): void {
    this.#next.delete(name);
    this.#next.set(name, (number + 1) % NUMBERS);
    if (this.#next.size <= this.#most) return;
    const [oldest] = this.#next.keys();
    if (oldest !== undefined) this.#next.delete(oldest);
  }
}
