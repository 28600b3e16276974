import { type FrameSocket, WaitingSocket } from "../../src/roles/web_socket.ts";

export type Side = "near" | "far";

const ABNORMAL = { code: 1006, reason: "" };

/** Two frame sockets joined in memory by a cable that can lose, change, hold back and be cut. */
export class SocketPair {
  readonly near: FrameSocket;
  readonly far: FrameSocket;
  /** Everything that was sent from each side, what got lost too. */
  readonly sent: Readonly<Record<Side, Uint8Array[]>> = { near: [], far: [] };
  /** Bytes that each end says have not left yet. */
  readonly buffered: Record<Side, number> = { near: 0, far: 0 };
  /** What arrives of a frame; nothing when it returns `undefined`. */
  pass: (frame: Uint8Array, from: Side) => Uint8Array | undefined = (frame) => frame;
  readonly #ends: Readonly<Record<Side, CableEnd>>;
  readonly #held = new Map<Side, (() => void)[]>();

  constructor() {
    const end = (side: Side) => new CableEnd(this, side);
    this.#ends = { near: end("near"), far: end("far") };
    this.near = this.#ends.near;
    this.far = this.#ends.far;
  }

  /** From now on nothing that `side` sends arrives, until it is released. */
  hold(side: Side): void {
    this.#held.set(side, []);
  }

  release(side: Side): void {
    const waiting = this.#held.get(side) ?? [];
    this.#held.delete(side);
    for (const step of waiting) step();
  }

  /** The connection is lost: both ends hear of it, and nothing that is on its way arrives. */
  cut(): void {
    this.#held.clear();
    for (const end of Object.values(this.#ends)) end.lose();
  }

  /** Brings a step of `side` to the other one, after all earlier ones. */
  carry(side: Side, step: (other: CableEnd) => void): void {
    const other = this.#ends[side === "near" ? "far" : "near"];
    const held = this.#held.get(side);
    if (held) held.push(() => queueMicrotask(() => step(other)));
    else queueMicrotask(() => step(other));
  }
}

class CableEnd extends WaitingSocket {
  #open = true;

  constructor(private readonly pair: SocketPair, private readonly side: Side) {
    super();
  }

  get bufferedBytes(): number {
    return this.pair.buffered[this.side];
  }

  send(frame: Uint8Array): void {
    if (!this.#open) return;
    this.pair.sent[this.side].push(frame);
    const arriving = this.pair.pass(frame, this.side);
    if (arriving) this.pair.carry(this.side, (other) => other.take(arriving));
  }

  sendText(): void {
    throw new TypeError("Cannot carry text");
  }

  close(code = 1000, reason = ""): void {
    if (!this.#open) return;
    this.#open = false;
    this.pair.carry(this.side, (other) => {
      other.lose({ code, reason });
      queueMicrotask(() => this.end({ code, reason }));
    });
  }

  destroy(): void {
    this.pair.carry(this.side, (other) => other.lose());
    this.lose();
  }

  take(frame: Uint8Array): void {
    if (this.#open) this.receiveFrame(frame);
  }

  lose(info = ABNORMAL): void {
    this.#open = false;
    this.end(info);
  }
}
