import { deepEqual, equal, ok } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import {
  decodeTransientAck,
  decodeTransientData,
  encodeTransientAck,
  encodeTransientData,
} from "../../../src/protocol/transient_messages.ts";
import type { LinkConnection } from "../../../src/roles/link_connection.ts";
import type { TransientMessage } from "../../../src/roles/peer/node_api.ts";
import { TRANSIENT, TransientExchange } from "../../../src/roles/peer/transient_exchange.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { contextFor, type LinkPair, linkPair } from "../../support/link_pair.ts";
import { untilHolds } from "../../support/rested.ts";

Deno.test("TransientData and TransientAck are read as they were written", () => {
  const data = { number: 7, channel: "x", data: utf8("one") };
  deepEqual(decodeTransientData(encodeTransientData(data)), data);
  const ack = { number: 7, taken: false };
  deepEqual(decodeTransientAck(encodeTransientAck(ack)), ack);
});

Deno.test("TransientExchange answers each message when its reader has dealt with it, one by one", async () => {
  await using scene = await Scene.open();
  const alice = scene.exchange("near");
  const first = Promise.withResolvers<void>();
  const bob = scene.exchange("far", async ({ from, channel, data }) => {
    ok(from.equals(scene.pair.far.remote));
    if (scene.shown.push(`${channel} ${fromUtf8(data)}`) === 1) await first.promise;
    return fromUtf8(data) !== "unwanted";
  });
  const answers: string[] = [];
  for (const text of ["one", "unwanted", "three"]) {
    alice.send("c", utf8(text)).then((taken) => answers.push(`${text} ${taken}`));
  }
  await untilHolds(() => scene.shown.length === 1, () => "the first");
  deepEqual([answers, alice.idle, bob.idle], [[], false, true]);
  first.resolve();
  await untilHolds(() => answers.length === 3, () => "the answers");
  deepEqual(scene.shown, ["c one", "c unwanted", "c three"]);
  deepEqual(answers, ["one true", "unwanted false", "three true"]);
  equal(alice.idle, true);
});

Deno.test("TransientExchange holds back what goes beyond its window, and gives up with its link", async () => {
  await using scene = await Scene.open();
  const alice = scene.exchange("near");
  const held = Promise.withResolvers<boolean>();
  scene.exchange("far", () => {
    scene.shown.push("");
    return held.promise;
  });
  const piece = new Uint8Array(1_000_000);
  const answers = Array.from({ length: 6 }, () => alice.send("", piece));
  await untilHolds(() => scene.shown.length === 1, () => "the first");
  const sent = scene.heard.filter((type) => type === MessageType.TransientData).length;
  equal(sent, 4, "4 MB are under way");
  alice.close();
  deepEqual(await Promise.all(answers), answers.map(() => false));
  held.resolve(true);
});

Deno.test("TransientExchange does not hear a peer that is not accepted, nor writes to one that cannot read it", async () => {
  await using scene = await Scene.open();
  const alice = scene.exchange("near");
  scene.exchange("far", () => Promise.resolve(true), { accepts: false });
  equal(await alice.send("", utf8("one")), false);

  await using other = await Scene.open([]);
  const here = other.exchange("near");
  equal(here.serves, false);
  equal(await here.send("", utf8("one")), false);
  deepEqual(other.heard, []);
});

Deno.test("TransientExchange ends the link of a peer that sends more than it may", async () => {
  await using scene = await Scene.open();
  scene.exchange("far", () => new Promise(() => {}));
  const { near } = scene.pair;
  const ended = new Promise((resolve) => near.onClose = resolve);
  for (let number = 1; number <= 65; number++) {
    const data = encodeTransientData({ number, channel: "", data: new Uint8Array(1) });
    near.send(MessageType.TransientData, data);
  }
  equal(await ended, "too-large");
});

/** A link between Alice, near, and Bob, far. */
class Scene implements AsyncDisposable {
  readonly shown: string[] = [];
  /** Types of what came to Bob. */
  readonly heard: number[] = [];
  readonly #exchanges: TransientExchange[] = [];

  private constructor(readonly pair: LinkPair, private readonly time: FakeTime) {}

  static async open(capabilities: readonly string[] = [TRANSIENT]): Promise<Scene> {
    const time = new FakeTime();
    const [near, far] = ["alice", "bob"].map((name) => contextFor(name, time, { capabilities }));
    const pair = await linkPair(near!, far!);
    for (const link of [pair.near, pair.far]) link.trustRemote();
    return new Scene(pair, time);
  }

  exchange(
    side: "near" | "far",
    onTransient: (message: TransientMessage) => Promise<boolean> = () => Promise.resolve(true),
    { accepts = true } = {},
  ): TransientExchange {
    const link: LinkConnection = this.pair[side];
    const exchange = new TransientExchange({
      link,
      accepts: () => accepts,
      onTransient,
      fail: (error) => {
        throw error;
      },
    });
    this.#exchanges.push(exchange);
    link.onEnvelope = ({ type, payload }) => {
      if (side === "far") this.heard.push(type);
      if (type === MessageType.TransientData) exchange.onData(decodeTransientData(payload));
      if (type === MessageType.TransientAck) exchange.onAck(decodeTransientAck(payload));
    };
    return exchange;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const exchange of this.#exchanges) exchange.close();
    this.pair.near.close("going-away");
    await untilHolds(() => this.pair.far.closed, () => "the end of the link");
    this.time[Symbol.dispose]();
  }
}
