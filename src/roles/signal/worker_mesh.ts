import { setImmediate } from "node:timers";
import { concatBytes, readU32, u32 } from "../../base/bytes.ts";
import type { DatedRecords } from "../../protocol/signal/record_store.ts";
import { decodeCanonicalFrame } from "../../protocol/signal/signal_frame.ts";
import { placeOf } from "../shared_places.ts";
import type { Backplane } from "./backplane.ts";

/** Topics that share a place look alike from other threads, which costs them a copy. */
const PLACES = 2 ** 16;
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
  /** Frames of this turn, each behind its length. */
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
  readonly #onDropped: () => void;
  readonly #questions = new Map<number, Question>();
  #lastQuestion = 0;
  #isTurnOpen = false;

  constructor({ memory, self, ports, onDropped }: MeshOptions) {
    const joinedBy = (thread: number) => new Int32Array(memory.joined, 4 * PLACES * thread, PLACES);
    this.#self = self;
    this.#own = joinedBy(self);
    this.#waiting = new Int32Array(memory.waiting);
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
    Atomics.add(this.#own, placeOf(topic, PLACES, 0), 1);
  }

  leave(topic: string): void {
    Atomics.sub(this.#own, placeOf(topic, PLACES, 0), 1);
  }

  publish(topic: string, frame: Uint8Array): void {
    const place = placeOf(topic, PLACES, 0);
    for (const neighbour of this.#neighbours) {
      if (Atomics.load(neighbour.joined, place) === 0) continue;
      neighbour.batch.push(u32(frame.length), frame);
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

  #endTurn(): void {
    this.#isTurnOpen = false;
    for (const neighbour of this.#neighbours) {
      if (neighbour.batch.length === 0) continue;
      const message = concatBytes(...neighbour.batch);
      neighbour.batch = [];
      const { thread, port } = neighbour;
      if (Atomics.load(this.#waiting, thread) + message.length > MOST_WAITING) {
        this.#onDropped();
        continue;
      }
      Atomics.add(this.#waiting, thread, message.length);
      this.#send(port, message);
    }
  }
}

function* framesOf(batch: Uint8Array): Generator<Uint8Array, void> {
  for (let start = 0; start < batch.length;) {
    const end = start + LENGTH_BYTES + readU32(batch, start);
    yield batch.subarray(start + LENGTH_BYTES, end);
    start = end;
  }
}
