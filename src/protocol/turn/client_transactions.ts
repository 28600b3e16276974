/** Requests of a client that wait for their response (RFC 8489 sections 6.2 and 6.3). */

import { toHex } from "../../base/bytes.ts";
import {
  encodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
  TRANSACTION_ID_LENGTH,
} from "../stun/message.ts";
import type { ClientAuthentication } from "./client_authentication.ts";
import type { ClientRequest } from "./client_requests.ts";

/** Milliseconds before the first retransmission; each later one waits twice as long. */
const RTO = 500;
/** Transmissions of a request over datagrams, and RTOs that the last one is waited for. */
const MAX_TRANSMISSIONS = 7;
const LAST_WAIT = 16;
/** Milliseconds over a stream, which repeats by itself. */
const STREAM_TIMEOUT = 39_500;

/** A request on its way. */
export interface Transaction<Purpose> {
  readonly request: ClientRequest;
  readonly purpose: Purpose;
  readonly isSigned: boolean;
  /** How often a challenge of the server was answered by it. */
  readonly challenges: number;
}

interface Pending<Purpose> extends Transaction<Purpose> {
  readonly bytes: Uint8Array;
  transmissions: number;
  dueAt: number;
}

/** The open transactions of one client. Time is monotonic milliseconds. */
export class ClientTransactions<Purpose> {
  readonly #authentication: ClientAuthentication;
  readonly #isStream: boolean;
  readonly #random: (length: number) => Uint8Array;
  readonly #send: (bytes: Uint8Array) => void;
  readonly #pending = new Map<string, Pending<Purpose>>();

  constructor(options: {
    readonly authentication: ClientAuthentication;
    readonly isStream: boolean;
    readonly random: (length: number) => Uint8Array;
    readonly send: (bytes: Uint8Array) => void;
  }) {
    this.#authentication = options.authentication;
    this.#isStream = options.isStream;
    this.#random = options.random;
    this.#send = options.send;
  }

  /** Sends a request, signed as far as the server has said how. */
  start(request: ClientRequest, purpose: Purpose, now: number, challenges = 0): void {
    const transactionId = this.#random(TRANSACTION_ID_LENGTH);
    // Binding needs no credentials, and so its answer has no signature.
    const isPlain = request.method === Method.Binding;
    const added = isPlain ? [] : this.#authentication.attributes;
    const integrity = isPlain ? undefined : this.#authentication.integrity;
    const bytes = encodeStunMessage({
      method: request.method,
      messageClass: MessageClass.Request,
      transactionId,
      attributes: [...request.attributes(transactionId), ...added],
      integrity,
      fingerprint: true,
    });
    this.#pending.set(toHex(transactionId), {
      request,
      purpose,
      challenges,
      bytes,
      isSigned: integrity !== undefined,
      transmissions: 1,
      dueAt: now + (this.#isStream ? STREAM_TIMEOUT : RTO),
    });
    this.#send(bytes);
  }

  /** The open transaction that a message belongs to. */
  find(message: StunMessage): Transaction<Purpose> | undefined {
    const pending = this.#pending.get(toHex(message.transactionId));
    return pending?.request.method === message.method ? pending : undefined;
  }

  /** Ends the transaction of a message that was taken as its response. */
  settle(message: StunMessage): void {
    this.#pending.delete(toHex(message.transactionId));
  }

  /** Gives up everything. */
  clear(): void {
    this.#pending.clear();
  }

  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextDeadline(): number {
    let next = Infinity;
    for (const { dueAt } of this.#pending.values()) next = Math.min(next, dueAt);
    return next;
  }

  /** Sends again what is due, and returns what nobody has answered. */
  advance(now: number): Transaction<Purpose>[] {
    const unanswered: Transaction<Purpose>[] = [];
    for (const [id, pending] of this.#pending) {
      if (pending.dueAt > now) continue;
      if (this.#isStream || pending.transmissions === MAX_TRANSMISSIONS) {
        this.#pending.delete(id);
        unanswered.push(pending);
        continue;
      }
      pending.transmissions += 1;
      const isLast = pending.transmissions === MAX_TRANSMISSIONS;
      pending.dueAt = now + RTO * (isLast ? LAST_WAIT : 2 ** (pending.transmissions - 1));
      this.#send(pending.bytes);
    }
    return unanswered;
  }
}
