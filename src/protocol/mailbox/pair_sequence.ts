import { alreadyUsed, MAX_SKIP, sequenceGap, waitingFor } from "./refusal.ts";

/**
 * The outer sequence of one sender to one recipient. Numbers are reserved in ascending order,
 * become durable in that order, and a refused number holds back those above it, so that what is
 * accepted is a prefix of what the sender sent (wire_format.md section 7).
 */
export class PairSequence {
  #lastAccepted: number;
  #reserved: number[] = [];
  #refused: number | undefined;

  /** @param lastAccepted the durable value, 0 when nothing was ever accepted. */
  constructor(lastAccepted: number) {
    this.#lastAccepted = lastAccepted;
  }

  /** The last sequence that is durable. */
  get lastAccepted(): number {
    return this.#lastAccepted;
  }

  /** The last sequence that is durable or on its way to the disk. */
  get lastReserved(): number {
    return this.#reserved.at(-1) ?? this.#lastAccepted;
  }

  /** The refused number that those above it wait for. */
  get awaited(): number | undefined {
    return this.#refused;
  }

  /** Why `sequence` is out of turn, if it is. */
  outOfTurn(sequence: number): string | undefined {
    if (sequence <= this.lastReserved) return alreadyUsed(sequence, this.lastReserved);
    if (this.#refused !== undefined && sequence > this.#refused) return waitingFor(this.#refused);
    return undefined;
  }

  /** Why `sequence` is too far ahead, if it is. */
  tooFarAhead(sequence: number): string | undefined {
    const gap = sequence - this.lastReserved;
    return gap > MAX_SKIP ? sequenceGap(gap) : undefined;
  }

  /** Takes `sequence`, which is neither out of turn nor too far ahead. */
  reserve(sequence: number): void {
    this.#reserved.push(sequence);
    if (this.#refused === sequence) this.#refused = undefined;
  }

  /** A reserved sequence became durable; those below it did before. */
  committed(sequence: number): void {
    this.#reserved = this.#reserved.filter((reserved) => reserved > sequence);
    this.#lastAccepted = Math.max(this.#lastAccepted, sequence);
  }

  /** `sequence` was refused at the door: later ones wait until it comes again. */
  refuse(sequence: number): void {
    if (sequence <= this.lastReserved) return;
    this.#refused = Math.min(sequence, this.#refused ?? sequence);
  }

  /** A reserved sequence could not be stored: it and those reserved after it are given up. */
  failed(sequence: number): void {
    this.#reserved = this.#reserved.filter((reserved) => reserved < sequence);
    this.refuse(sequence);
  }

  /** A new link: the sender starts over after {@linkcode PairSequence.lastAccepted}. */
  forgetRefusal(): void {
    this.#refused = undefined;
  }
}
