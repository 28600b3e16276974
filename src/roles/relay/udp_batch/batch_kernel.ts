import { PacketMemory } from "./packet_memory.ts";
import { selfTest } from "./self_test.ts";
import { SendQueue } from "./send_queue.ts";
import { SocketCalls } from "./socket_calls.ts";

/** It is reachable as long as the process, and with it all memory that libc has addresses of. */
let loaded: BatchKernel | undefined;

/** What all batching sockets of a thread share. */
export class BatchKernel {
  readonly memory: PacketMemory;
  readonly calls: SocketCalls;
  readonly queue: SendQueue;

  private constructor() {
    this.memory = new PacketMemory();
    this.calls = new SocketCalls(this.memory);
    this.queue = new SendQueue(this.memory);
    this.queue.joins = selfTest(this.memory, this.calls).joins;
  }

  /**
   * Needs the permission for FFI the first time; it may be given up afterwards.
   *
   * @throws {Error} that says why there is none on this machine, or in this process.
   */
  static load(): BatchKernel {
    return loaded ??= new BatchKernel();
  }

  /** What {@linkcode load} has loaded in this thread. */
  static get loaded(): BatchKernel | undefined {
    return loaded;
  }
}
