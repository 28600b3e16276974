import {
  PortPool,
  type PortPoolMemory,
  portPoolMemory,
  type PortRange,
  type PortWish,
} from "../../../protocol/turn/port_pool.ts";
import type { PortSupply } from "../../../protocol/turn/siblings.ts";

const FREE = 0;
/** Reserved, with its socket set aside for whoever brings the token. */
const OFFERED = 255;
/** More threads than that could not be told from the above. */
export const MOST_THREADS = 254;

/** The relay ports of one family, as distances from the first of the range. */
export interface PortMemory {
  readonly pool: PortPoolMemory;
  /** The thread that holds a port, from 1. */
  readonly owners: Uint8Array;
  /** The token by which a port is reserved; 0 for none. */
  readonly tokenHigh: Int32Array;
  readonly tokenLow: Int32Array;
  /** The row of the user who pays for it. */
  readonly user: Int32Array;
  /** The descriptor of a socket that was set aside, and 1; 0 for none. */
  readonly aside: Int32Array;
}

export function portMemory(range: PortRange): PortMemory {
  const length = range.max - range.min + 1;
  const integers = () => new Int32Array(new SharedArrayBuffer(4 * length));
  return {
    pool: portPoolMemory(range, (length) => new SharedArrayBuffer(length)),
    owners: new Uint8Array(new SharedArrayBuffer(length)),
    tokenHigh: integers(),
    tokenLow: integers(),
    user: integers(),
    aside: integers(),
  };
}

/** The relay ports of one family on all threads, as one of them sees them. */
export class SharedPorts implements PortSupply {
  readonly #min: number;
  readonly #memory: PortMemory;
  readonly #pool: PortPool;
  readonly #self: number;
  readonly #alone: <T>(action: () => T) => T;

  /** `self` counts from 1; `alone` runs what no two threads may do at a time. */
  constructor(options: {
    readonly range: PortRange;
    readonly memory: PortMemory;
    readonly self: number;
    readonly random: (length: number) => Uint8Array;
    readonly alone: <T>(action: () => T) => T;
  }) {
    const { range, memory, self, random, alone } = options;
    this.#min = range.min;
    this.#memory = memory;
    this.#pool = new PortPool(range, random, memory.pool);
    this.#self = self;
    this.#alone = alone;
  }

  get freeCount(): number {
    return Atomics.load(this.#memory.pool.count, 0);
  }

  take(wish: PortWish): number | undefined {
    return this.#alone(() => {
      const port = this.#pool.take(wish);
      if (port === undefined) return undefined;
      this.#setOwner(port, this.#self);
      if (wish === "pair") this.#setOwner(port + 1, this.#self);
      return port;
    });
  }

  release(port: number): void {
    this.#alone(() => {
      this.#setOwner(port, FREE);
      this.#pool.release(port);
    });
  }

  isElsewhere(port: number): boolean {
    const index = port - this.#min;
    const { owners } = this.#memory;
    if (index < 0 || index >= owners.length) return false;
    const owner = Atomics.load(owners, index);
    return owner !== FREE && owner !== OFFERED && owner !== this.#self;
  }

  /** Reserves a port of this thread; `user` is a row that pays for it. */
  offer(port: number, high: number, low: number, user: number): void {
    const memory = this.#memory;
    const index = port - this.#min;
    memory.tokenHigh[index] = high;
    memory.tokenLow[index] = low;
    memory.user[index] = user;
    this.#setOwner(port, OFFERED);
  }

  /** The port that is reserved by a token, and the row of the user who pays for it. */
  offered(high: number, low: number): { readonly port: number; readonly user: number } | undefined {
    const { owners, tokenHigh, tokenLow, user } = this.#memory;
    for (let at = tokenLow.indexOf(low); at >= 0; at = tokenLow.indexOf(low, at + 1)) {
      if (owners[at] !== OFFERED || tokenHigh[at] !== high) continue;
      return { port: this.#min + at, user: user[at]! };
    }
    return undefined;
  }

  /** Ends a reservation: the port is this thread's. */
  takeOver(port: number): void {
    const index = port - this.#min;
    this.#memory.tokenHigh[index] = this.#memory.tokenLow[index] = 0;
    this.#setOwner(port, this.#self);
  }

  /** Leaves the socket of a port to whoever takes the port over. */
  setAside(port: number, descriptor: number): void {
    Atomics.store(this.#memory.aside, port - this.#min, descriptor + 1);
  }

  /** The descriptor of the socket that was left. */
  takeAside(port: number): number | undefined {
    const left = Atomics.exchange(this.#memory.aside, port - this.#min, 0);
    return left === 0 ? undefined : left - 1;
  }

  #setOwner(port: number, owner: number): void {
    Atomics.store(this.#memory.owners, port - this.#min, owner);
  }
}
