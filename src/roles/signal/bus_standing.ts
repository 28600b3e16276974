import type { Unreadiness } from "../health_pages.ts";

/** How a thread stands with the bus. Refusing: it is there, but does not do what it is asked for. */
export type Standing = "lost" | "joined" | "refusing";

const STANDINGS: readonly Standing[] = ["lost", "joined", "refusing"];

/** How the threads of a server stand with the bus: each says so for itself, any may ask for all. */
export class BusStanding {
  readonly #standings: Int32Array;
  readonly #self: number;

  /** For so many threads, none of which has joined. */
  static memory(threads: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * threads);
  }

  /** `self` is the number of the thread that speaks for itself. */
  constructor(memory: SharedArrayBuffer, self = 0) {
    this.#standings = new Int32Array(memory);
    this.#self = self;
  }

  get own(): Standing {
    return this.#of(this.#self);
  }

  set own(standing: Standing) {
    Atomics.store(this.#standings, this.#self, STANDINGS.indexOf(standing));
  }

  /** Why the whole server should get no further clients, whichever thread they would land on. */
  get unreadiness(): Unreadiness {
    const all = Array.from(this.#standings, (_, thread) => this.#of(thread));
    if (all.includes("lost")) return "the bus is lost";
    return all.includes("refusing") ? "the bus refuses" : undefined;
  }

  #of(thread: number): Standing {
    return STANDINGS[Atomics.load(this.#standings, thread)] ?? "lost";
  }
}
