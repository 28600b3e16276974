/* What passes between the threads of one signaling server. */

import assert from "node:assert/strict";
import { encodeSignalFrame } from "../../../src/protocol/signal/signal_frame.ts";
import { meshMemory, WorkerMesh } from "../../../src/roles/signal/worker_mesh.ts";
import { untilHolds } from "../../support/rested.ts";

const FRAME = relay("abc", 1);
/** Bytes that a frame takes on its way, beside itself. */
const LENGTH_BYTES = 4;
const MOST_WAITING = 8_388_608;

Deno.test("a turn may bring more frames than a call has room for arguments", async () => {
  using mesh = new Pair();
  mesh.other.join("abc");
  const count = 150_000;
  for (let i = 0; i < count; i++) mesh.one.publish("abc", FRAME);
  await untilHolds(() => mesh.heard.length === count, () => `all came, of which ${mesh.told}`);
  assert.equal(mesh.dropped, 0);
});

Deno.test("what is too much for a thread at once is dropped and counted frame by frame", async () => {
  using mesh = new Pair();
  mesh.other.join("abc");
  const frame = relay("abc", 60_000);
  const most = Math.floor(MOST_WAITING / (frame.length + LENGTH_BYTES));
  for (let i = 0; i < most + 7; i++) mesh.one.publish("abc", frame);
  assert.equal(mesh.dropped, 7);
  await untilHolds(
    () => mesh.heard.length === most,
    () => `the others came, of which ${mesh.told}`,
  );
  mesh.one.publish("abc", FRAME);
  await untilHolds(() => mesh.heard.length === most + 1, () => "there is room again");
  assert.equal(mesh.dropped, 7);
});

Deno.test("a thread gets what it has joined, once for each that joined, until the last one left", async () => {
  using mesh = new Pair();
  mesh.one.publish("abc", relay("abc", 1));
  mesh.other.join("abc");
  mesh.one.publish("abc", relay("abc", 2));
  mesh.other.leave("abc");
  mesh.one.publish("abc", relay("abc", 3));
  mesh.other.join("last");
  mesh.one.publish("last", relay("last", 4));
  await untilHolds(() => mesh.heard.includes("last 4"), () => `the last one, behind ${mesh.told}`);
  assert.deepEqual(mesh.heard, ["abc 2", "last 4"]);
});

/** Two threads of one server, as they see one another. */
class Pair implements Disposable {
  readonly heard: string[] = [];
  dropped = 0;
  readonly one: WorkerMesh;
  readonly other: WorkerMesh;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    const shared = { memory: meshMemory(2), seed: 7, onDropped: () => void this.dropped++ };
    this.one = new WorkerMesh({ ...shared, self: 0, ports: new Map([[1, port1]]) });
    this.other = new WorkerMesh({ ...shared, self: 1, ports: new Map([[0, port2]]) });
    const nothing = () => ({ payload: undefined, peers: [] });
    this.one.start(() => assert.fail("It said it itself"), nothing);
    this.other.start((topic, frame) => this.heard.push(`${topic} ${frame.at(-1)}`), nothing);
  }

  get told(): string {
    return `${this.heard.length} came`;
  }

  [Symbol.dispose](): void {
    this.one.close();
    this.other.close();
  }
}

/** With as many bytes, each of which tells how many, as far as it can. */
function relay(topic: string, length: number): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload: new Uint8Array(length).fill(length) });
}
