import { deepEqual, equal, throws } from "node:assert/strict";
import { ProtocolError } from "../../../src/base/errors.ts";
import type { RelayAck, RelayData } from "../../../src/protocol/hub_messages.ts";
import { RELAY_WINDOW, type RelayPort } from "../../../src/protocol/hub/circuit.ts";
import {
  MAX_CIRCUITS_PER_PEER,
  RelayExchange,
  RelayReason,
} from "../../../src/protocol/hub/relay_exchange.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";

const FRAME = 32_768;

Deno.test("RelayExchange carries frames both ways, in order, and says who they are from", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, "one");
  alice.send(bob, "two");
  bob.send(alice, "three");
  deepEqual(bob.heard, ["alice: one (opens)", "alice: two"]);
  deepEqual(alice.heard, ["bob: three"]);
});

Deno.test("RelayExchange refuses the eleventh pair when it has room for ten, and says so", () => {
  const scene = new Scene({ capacity: 10 });
  const pairs = Array.from({ length: 11 }, (_, index) => scene.ports(`a${index}`, `b${index}`));
  for (const [one, other] of pairs) one.open(other, "hello");
  for (const [one, other] of pairs.slice(0, 10)) {
    deepEqual([one.reasons, other.heard.length], [[], 1]);
  }
  const [last, never] = pairs[10]!;
  deepEqual([last.reasons, never.heard], [[RelayReason.capacity], []]);
  const [first, second] = pairs[0]!;
  second.open(first, "the same pair once more, from the other side");
  equal(first.heard.length, 1);
  first.end(second, "closed", first);
  first.end(second, "closed", second);
  last.open(never, "now there is room", "another circuit");
  equal(never.heard.length, 1);
  const { activePairs, opened, refused, capacity } = scene.exchange.stats();
  deepEqual({ activePairs, opened, refused, capacity }, {
    activePairs: 10,
    opened: 12,
    refused: 1,
    capacity: 10,
  });
});

Deno.test("RelayExchange opens to nobody who is not there, nor to the opener itself", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  scene.exchange.detach(bob, 0);
  alice.open(bob, "x");
  alice.open(alice, "x", "another");
  deepEqual(alice.reasons, [RelayReason.notOnline, RelayReason.notOnline]);
});

Deno.test("RelayExchange holds back what a stalled receiver has not acknowledged, up to its window", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, FRAME);
  for (let sent = FRAME; sent < RELAY_WINDOW; sent += FRAME) alice.send(bob, FRAME);
  equal(bob.bytes, RELAY_WINDOW);
  deepEqual(alice.reasons, []);
  alice.send(bob, 1);
  deepEqual([alice.reasons, bob.reasons], [[RelayReason.overWindow], [RelayReason.overWindow]]);
  equal(scene.exchange.stats().activePairs, 0);
});

Deno.test("RelayExchange lets a stalled receiver slow its own circuits alone", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  const [carol, stalled] = scene.ports("carol", "stalled");
  alice.open(stalled, FRAME);
  carol.open(stalled, FRAME);
  for (let sent = FRAME; sent < RELAY_WINDOW; sent += FRAME) {
    alice.send(stalled, FRAME);
  }
  alice.open(bob, FRAME);
  for (let round = 0; round < 100; round++) {
    bob.acknowledge(alice, FRAME);
    alice.send(bob, FRAME);
  }
  equal(bob.bytes, 101 * FRAME);
  equal(stalled.bytes, RELAY_WINDOW + FRAME);
  deepEqual([alice.reasons, bob.reasons, carol.reasons], [[], [], []]);
});

Deno.test("RelayExchange sends a receiver one frame of each circuit in turn", () => {
  const scene = new Scene();
  const [a, b] = scene.ports("a", "b");
  const [c, d] = scene.ports("c", "d");
  const [reader] = scene.ports("reader", "nobody");
  for (const writer of [a, b, c, d]) {
    writer.open(reader, FRAME);
    for (let sent = FRAME; sent < RELAY_WINDOW; sent += FRAME) writer.send(reader, FRAME);
  }
  equal(reader.bytes, 1_048_576, "the rest waits until the link has taken that");
  reader.heard.length = 0;
  reader.acknowledge(a, 5 * FRAME);
  deepEqual(reader.heard.map((line) => line[0]), ["c", "d", "c", "d", "c"]);
  a.send(reader, FRAME);
  reader.acknowledge(b, 3 * FRAME);
  deepEqual(reader.heard.slice(5).map((line) => line[0]), ["d", "c", "a"]);
});

Deno.test("RelayExchange passes credit on, alone or with a frame that goes the same way", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, 100_000);
  bob.acknowledge(alice, 20_000);
  deepEqual(alice.credits, [20_000]);
  bob.acknowledge(alice, 60);
  deepEqual(alice.credits, [20_000], "not worth a message of its own");
  bob.send(alice, "an answer", 40);
  deepEqual(alice.credits, [20_000, 100]);
  deepEqual(bob.credits, []);
});

Deno.test("RelayExchange does not take credit for more than it has sent", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, 100);
  bob.acknowledge(alice, 60);
  throws(() => bob.acknowledge(alice, 41), isProtocolError);
  throws(() => bob.acknowledge(alice, 0), isProtocolError);
  throws(() => bob.send(alice, "x", 41), isProtocolError);
  throws(() => alice.open(bob, "again the same"), isProtocolError);
});

Deno.test("RelayExchange tells the other end when one ends the circuit, or goes", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, "x");
  bob.end(alice, "closed");
  deepEqual(alice.reasons, ["closed"]);
  alice.send(bob, "late");
  equal(bob.heard.length, 1, "frames of a circuit that ended are dropped");
  bob.open(alice, "y");
  scene.exchange.detach(alice, 0);
  deepEqual(bob.reasons, [RelayReason.gone]);
  equal(scene.exchange.stats().activePairs, 0);
});

Deno.test("RelayExchange ends the circuit before when the opener opens once more", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, "first", "1");
  alice.open(bob, "second", "2");
  deepEqual(bob.reasons, [RelayReason.replaced]);
  bob.open(alice, "crossing", "3");
  deepEqual([alice.reasons, scene.exchange.stats().activePairs], [[RelayReason.replaced], 1]);
  deepEqual(alice.heard, ["bob: crossing (opens)"]);
});

Deno.test("RelayExchange bounds the circuits of one peer", () => {
  const scene = new Scene();
  const [alice] = scene.ports("alice", "bob");
  for (let index = 0; index <= MAX_CIRCUITS_PER_PEER; index++) {
    const [other] = scene.ports(`peer ${index}`, `idle ${index}`);
    alice.open(other, "x", `${index}`);
  }
  deepEqual(alice.reasons, [RelayReason.tooMany]);
});

Deno.test("RelayExchange gives credit no faster than a sender's rate", () => {
  const scene = new Scene({ bytesPerSecond: 10_000 });
  const [alice, bob] = scene.ports("alice", "bob");
  const [carol] = scene.ports("carol", "nobody");
  alice.open(bob, 30_000);
  bob.acknowledge(alice, 20_000);
  deepEqual(alice.credits, [], "a second's worth is free, the rest must be earned");
  equal(scene.exchange.nextDeadline(0), 2_000);
  scene.now = 1_999;
  scene.exchange.advance(scene.now);
  bob.send(alice, "an answer takes none along", 10_000);
  deepEqual(alice.credits, []);
  alice.open(carol, 1);
  deepEqual(alice.reasons, [RelayReason.overRate]);
  scene.now = 2_000;
  scene.exchange.advance(scene.now);
  deepEqual(alice.credits, [30_000]);
  equal(scene.exchange.nextDeadline(2_000), undefined);
  bob.send(alice, 20_000);
  alice.acknowledge(bob, 20_000);
  deepEqual(bob.credits, [], "the other peer has a rate of its own");
  scene.now = 4_000;
  scene.exchange.advance(scene.now);
  equal(bob.credits.reduce((sum, credit) => sum + credit, 0), 20_000);
});

Deno.test("RelayExchange counts what each peer sent and received", () => {
  const scene = new Scene();
  const [alice, bob] = scene.ports("alice", "bob");
  alice.open(bob, 700);
  bob.acknowledge(alice, 700);
  const { peers, bytesRelayed } = scene.exchange.stats();
  equal(bytesRelayed, 700);
  deepEqual(
    peers.map(({ peerId, ...rest }) => [peerId.equals(alice.peerId) ? "alice" : "bob", rest]),
    [
      ["alice", { bytesSent: 700, bytesReceived: 0, activeLinks: 1 }],
      ["bob", { bytesSent: 0, bytesReceived: 700, activeLinks: 1 }],
    ],
  );
  scene.exchange.forget(alice.peerId);
  equal(scene.exchange.stats().peers.length, 1);
});

class Scene {
  readonly exchange: RelayExchange;
  now = 0;

  constructor(limits: { capacity?: number; bytesPerSecond?: number } = {}) {
    const { capacity = 100, bytesPerSecond } = limits;
    this.exchange = new RelayExchange({ capacity, bytesPerSecond });
  }

  ports(one: string, other: string): [TestPort, TestPort] {
    const ports: [TestPort, TestPort] = [new TestPort(this, one), new TestPort(this, other)];
    for (const port of ports) this.exchange.attach(port);
    return ports;
  }
}

/** A peer's link that writes down what the relay sends. */
class TestPort implements RelayPort {
  readonly peerId;
  readonly heard: string[] = [];
  readonly credits: number[] = [];
  readonly reasons: string[] = [];
  bytes = 0;
  /** The circuit that was last opened with a peer, from either side. */
  readonly #circuits = new Map<string, Uint8Array>();

  constructor(private readonly scene: Scene, readonly label: string) {
    this.peerId = identityFor(label).peerId;
  }

  data({ peerId, frame, circuit, opens, credit }: RelayData): void {
    const from = labels.get(peerId.toString());
    if (opens) this.#circuits.set(from ?? "", circuit);
    this.bytes += frame.length;
    if (credit > 0) this.credits.push(credit);
    const text = frame.every((byte) => byte === 0)
      ? `${frame.length} bytes`
      : new TextDecoder().decode(frame);
    this.heard.push(`${from}: ${text}${opens ? " (opens)" : ""}`);
  }

  ack({ credit, reason }: RelayAck): void {
    if (reason === null) this.credits.push(credit);
    else this.reasons.push(reason);
  }

  open(to: TestPort, content: string | number, name = "circuit"): void {
    const circuit = bytesFor(`${this.label} ${name}`).slice(0, 16);
    this.#circuits.set(to.label, circuit);
    this.#data(to, content, circuit, true);
  }

  send(to: TestPort, content: string | number, credit = 0): void {
    this.#data(to, content, this.#circuit(to), false, credit);
  }

  acknowledge(from: TestPort, credit: number): void {
    const message = { peerId: from.peerId, circuit: this.#circuit(from), credit, reason: null };
    this.scene.exchange.ack(this, message, this.scene.now);
  }

  /** Ends the circuit that `opener` opened, by default the last with `other`. */
  end(other: TestPort, reason: string, opener?: TestPort): void {
    const circuit = opener
      ? bytesFor(`${opener.label} circuit`).slice(0, 16)
      : this.#circuit(other);
    const message = { peerId: other.peerId, circuit, credit: 0, reason };
    this.scene.exchange.ack(this, message, this.scene.now);
  }

  #data(
    to: TestPort,
    content: string | number,
    circuit: Uint8Array,
    opens: boolean,
    credit = 0,
  ): void {
    const frame = typeof content === "number"
      ? new Uint8Array(content)
      : new TextEncoder().encode(content);
    const message = { peerId: to.peerId, frame, circuit, opens, credit };
    labels.set(this.peerId.toString(), this.label);
    this.scene.exchange.data(this, message, this.scene.now);
  }

  #circuit(other: TestPort): Uint8Array {
    const circuit = this.#circuits.get(other.label);
    if (!circuit) throw new Error(`${this.label} has no circuit with ${other.label}`);
    return circuit;
  }
}

const labels = new Map<string, string>();

function isProtocolError(error: unknown): boolean {
  return error instanceof ProtocolError;
}
