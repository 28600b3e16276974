import { setImmediate } from "node:timers";
import { readU32, u32 } from "../../base/bytes.ts";
import type { DatedRecords } from "../../protocol/signal/record_store.ts";
import { decodeCanonicalFrame } from "../../protocol/signal/signal_frame.ts";
import { placeOf } from "../shared_places.ts";
import type { Backplane } from "./backplane.ts";

/**
 * Topics that share a place look alike from other threads, which costs them a copy. These are eight
 * times the topics that all connections of one address may have by default.
 */
const PLACES = 2 ** 20;
/** Bytes that wait for one thread, beyond which it gets no more. */
const MOST_WAITING = 8_388_608;
const LENGTH_BYTES = 4;
/** Milliseconds after which a question goes on without those who did not answer. */
const ANSWER_PATIENCE = 1_000;

/** What threads of one signaling server share. */
export interface MeshMemory {
  /** How many topics of a place each thread has joined: by thread, then by place. */
  readonly joined: SharedArrayBuffer;
  /** Bytes that are on their way: by receiver. */
  readonly waiting: SharedArrayBuffer;
}

export function meshMemory(threads: number): MeshMemory {
  return {
    joined: new SharedArrayBuffer(4 * PLACES * threads),
    waiting: new SharedArrayBuffer(4 * threads),
  };
}

export interface MeshOptions {
  readonly memory: MeshMemory;
  /** This thread's number, from 0. */
  readonly self: number;
  /** To each of the other threads, by its number. */
  readonly ports: ReadonlyMap<number, MessagePort>;
  /** All threads are given the same; who does not know it cannot choose topics of one place. */
  readonly seed: number;
  /** A thread does not get a relay, since too much waits for it. */
  readonly onDropped: () => void;
}

type MeshMessage =
  /** Frames, each behind its length. */
  | Uint8Array<ArrayBuffer>
  | { readonly kind: "ask"; readonly id: number; readonly topic: string }
  | { readonly kind: "answer"; readonly id: number; readonly records: DatedRecords };

/** What a question has been answered with so far. */
interface Question {
  readonly answers: DatedRecords[];
  readonly end: () => void;
}

interface Neighbour {
  readonly thread: number;
  readonly port: MessagePort;
  readonly joined: Int32Array;
  /** Frames of this turn. */
  batch: Uint8Array[];
}

/**
 * Joins the threads of one signaling server. Who joins a topic says so in shared memory, so that a
 * relay which is read later, on whichever thread, finds it there; the frames of a turn go to each
 * thread that may want them in one message.
 */
export class WorkerMesh implements Backplane {
  readonly #self: number;
  readonly #own: Int32Array;
  readonly #waiting: Int32Array;
  readonly #neighbours: readonly Neighbour[];
  readonly #seed: number;
  readonly #onDropped: () => void;
  readonly #questions = new Map<number, Question>();
  #lastQuestion = 0;
  #isTurnOpen = false;

  constructor({ memory, self, ports, seed, onDropped }: MeshOptions) {
    const joinedBy = (thread: number) => new Int32Array(memory.joined, 4 * PLACES * thread, PLACES);
    this.#self = self;
    this.#own = joinedBy(self);
    this.#waiting = new Int32Array(memory.waiting);
    this.#seed = seed;
    this.#onDropped = onDropped;
    this.#neighbours = [...ports].map(([thread, port]) => (
      { thread, port, joined: joinedBy(thread), batch: [] }
    ));
  }

  /** Begins to hear what clients of other threads say, and to answer what is kept here. */
  start(
    onRelay: (topic: string, frame: Uint8Array) => void,
    onAsk: (topic: string) => DatedRecords,
  ): void {
    for (const { port } of this.#neighbours) {
      port.onmessage = ({ data }: MessageEvent<MeshMessage>) => {
        if (data instanceof Uint8Array) this.#hear(data, onRelay);
        else if (data.kind === "answer") this.#take(data.id, data.records);
        else this.#send(port, { kind: "answer", id: data.id, records: onAsk(data.topic) });
      };
    }
  }

  ask(topic: string): Promise<readonly DatedRecords[]> {
    const id = ++this.#lastQuestion;
    return new Promise((resolve) => {
      const answers: DatedRecords[] = [];
      const end = () => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(answers);
      };
      const timer = setTimeout(end, ANSWER_PATIENCE);
      this.#questions.set(id, { answers, end });
      for (const { port } of this.#neighbours) this.#send(port, { kind: "ask", id, topic });
    });
  }

  join(topic: string): void {
    Atomics.add(this.#own, placeOf(topic, PLACES, this.#seed), 1);
  }

  leave(topic: string): void {
    Atomics.sub(this.#own, placeOf(topic, PLACES, this.#seed), 1);
  }

  publish(topic: string, frame: Uint8Array): void {
    const place = placeOf(topic, PLACES, this.#seed);
    for (const neighbour of this.#neighbours) {
      if (Atomics.load(neighbour.joined, place) === 0) continue;
      if (!this.#reserve(neighbour.thread, LENGTH_BYTES + frame.length)) {
        this.#onDropped();
        continue;
      }
      neighbour.batch.push(frame);
      if (this.#isTurnOpen) continue;
      this.#isTurnOpen = true;
      // A message between threads costs 40 µs: what all sockets brought in this turn goes in one.
      setImmediate(() => this.#endTurn());
    }
  }

  close(): void {
    for (const { end } of this.#questions.values()) end();
    for (const { port } of this.#neighbours) port.close();
  }

  #hear(batch: Uint8Array, onRelay: (topic: string, frame: Uint8Array) => void): void {
    Atomics.sub(this.#waiting, this.#self, batch.length);
    for (const frame of framesOf(batch)) {
      const relay = decodeCanonicalFrame(frame);
      if (relay?.kind === "Relay") onRelay(relay.topic, frame);
    }
  }

  #take(id: number, records: DatedRecords): void {
    const question = this.#questions.get(id);
    if (question?.answers.push(records) === this.#neighbours.length) question.end();
  }

  #send(port: MessagePort, message: MeshMessage): void {
    port.postMessage(message, message instanceof Uint8Array ? [message.buffer] : []);
  }

  /** Room for `length` bytes on the way to `thread`, which gives it back when it has them. */
  #reserve(thread: number, length: number): boolean {
    if (Atomics.add(this.#waiting, thread, length) + length <= MOST_WAITING) return true;
    Atomics.sub(this.#waiting, thread, length);
    return false;
  }

  #endTurn(): void {
    this.#isTurnOpen = false;
    for (const neighbour of this.#neighbours) {
      if (neighbour.batch.length === 0) continue;
      const batch = joinFrames(neighbour.batch);
      neighbour.batch = [];
      this.#send(neighbour.port, batch);
    }
  }
}

/** `frames`, of which there may be very many, each behind its length. */
function joinFrames(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = frames.reduce((sum, frame) => sum + LENGTH_BYTES + frame.length, 0);
  const batch = new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    batch.set(u32(frame.length), at);
    batch.set(frame, at + LENGTH_BYTES);
    at += LENGTH_BYTES + frame.length;
  }
  return batch;
}

function* framesOf(batch: Uint8Array): Generator<Uint8Array, void> {
  for (let start = 0; start < batch.length;) {
    const end = start + LENGTH_BYTES + readU32(batch, start);
    yield batch.subarray(start + LENGTH_BYTES, end);
    start = end;
  }
}
