import type { TokenBucket } from "../../base/token_bucket.ts";
import type { AcceptedWebSocket } from "../accepted_socket.ts";

/** What one connection to a signaling server has left of its limits. */
export interface Member {
  readonly socket: AcceptedWebSocket;
  /** Under which address limits count it. */
  readonly key: string;
  readonly number: number;
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;
  mistakes: TokenBucket | undefined;
  isEnding: boolean;
  /** Behind a query that others are being asked for; answers come in order. */
  textsBehind: WaitingTexts | undefined;
}

/** What a waiting message costs beside its characters. */
const OVERHEAD = 256;
const BYTES_PER_CHARACTER = 2;

/** Text messages of one connection that have to wait. */
export class WaitingTexts {
  readonly #most: number;
  readonly #texts: string[] = [];
  #bytes = 0;

  /** They take at most `most` bytes of memory, about. */
  constructor(most: number) {
    this.#most = most;
  }

  get texts(): readonly string[] {
    return this.#texts;
  }

  /** False when it is too much. */
  push(text: string): boolean {
    this.#bytes += OVERHEAD + BYTES_PER_CHARACTER * text.length;
    if (this.#bytes > this.#most) return false;
    this.#texts.push(text);
    return true;
  }
}
