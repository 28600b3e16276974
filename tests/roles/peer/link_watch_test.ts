import { deepEqual, equal } from "node:assert/strict";
import type { LinkConnection } from "../../../src/roles/link_connection.ts";
import type { FoundLink } from "../../../src/roles/peer/link_search.ts";
import { LinkWatch } from "../../../src/roles/peer/link_watch.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { contextFor, linkPair } from "../../support/link_pair.ts";
import type { SocketPair } from "../../support/socket_pair.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const WEB_SOCKET = "ws://192.0.2.7:9876/";
const PATH = "direct 192.0.2.7:40000";

watchTest("leaves a WebSocket alone that answers", WEB_SOCKET, async (scene) => {
  await scene.elapse(10 * MINUTE);
  deepEqual(scene.searches, []);
});

watchTest(
  "finds another way when a WebSocket falls silent, by all of them",
  WEB_SOCKET,
  async (scene) => {
    scene.silence();
    await scene.elapse(25 * SECOND);
    deepEqual(scene.searches, ["all"]);
    deepEqual(scene.steadiness, [false]);
    const successor = await scene.find();
    deepEqual(scene.successors, [successor]);
  },
);

watchTest(
  "asks before it gives a WebSocket up that has nothing to say",
  WEB_SOCKET,
  async (scene) => {
    scene.silence();
    await scene.elapse(18 * SECOND);
    scene.speak();
    await scene.elapse(10 * SECOND);
    deepEqual(scene.searches, []);
    equal(scene.steadiness.includes(false), false);
  },
);

watchTest(
  "looks for a WebSocket while datagrams carry the link, ever more rarely",
  PATH,
  async (scene) => {
    await scene.elapse(9 * SECOND);
    deepEqual(scene.searches, []);
    await scene.elapse(4 * SECOND);
    deepEqual(scene.searches, ["websocket"]);
    scene.findNothing();
    await scene.elapse(10 * MINUTE);
    // After 10, 30, 70, 150, 310 s; the next would be after 630.
    equal(await scene.searchesThatFailed(), 5);
  },
);

watchTest(
  "gives datagrams more time than a WebSocket: they find another way by themselves",
  PATH,
  async (scene) => {
    scene.findNothing();
    scene.silence();
    scene.ask();
    await scene.elapse(18 * SECOND);
    equal(scene.searches.includes("all"), false);
    await scene.elapse(15 * SECOND);
    equal(scene.searches.includes("all"), true);
  },
);

watchTest(
  "asks at once when the machine's addresses change, and looks for a WebSocket again",
  PATH,
  async (scene) => {
    scene.changeNetwork();
    await turns();
    deepEqual(scene.searches, []);
    deepEqual(scene.steadiness, [true]);
    await scene.elapse(4 * SECOND);
    deepEqual(scene.searches, ["websocket"]);
  },
);

watchTest("lets nobody have a link that is found after its end", WEB_SOCKET, async (scene) => {
  scene.silence();
  await scene.elapse(25 * SECOND);
  deepEqual(scene.searches, ["all"]);
  const ending = scene.end();
  const late = await scene.find();
  await ending;
  deepEqual(scene.successors, []);
  equal(late.link.closed, true);
});

/** A link to a server, its watch, and a search that finds when it is told. */
class WatchScene {
  readonly searches: string[] = [];
  readonly steadiness: boolean[] = [];
  readonly successors: FoundLink[] = [];
  readonly #time: FakeTime;
  readonly #near: LinkConnection;
  readonly #cable: SocketPair;
  readonly #watch: LinkWatch;
  #found = Promise.withResolvers<FoundLink>();
  #isInVain = false;
  #hear: (isLost: boolean) => void = () => {};

  static async open(time: FakeTime, via: string): Promise<WatchScene> {
    const { near, far, cable } = await linkPair(contextFor("alice", time), contextFor("bob", time));
    far.onEnvelope = () => {};
    return new WatchScene(time, near, cable, via);
  }

  private constructor(time: FakeTime, near: LinkConnection, cable: SocketPair, via: string) {
    this.#time = time;
    this.#near = near;
    this.#cable = cable;
    this.#watch = new LinkWatch({ link: near, via: () => via }, {
      host: time,
      paths: {
        onNetworkChange: (hear) => {
          this.#hear = hear;
          return () => this.#hear = () => {};
        },
      },
      find: (_signal, ways) => {
        this.searches.push(ways);
        return this.#isInVain ? Promise.reject(new Error("There is none")) : this.#found.promise;
      },
      onSteady: (isSteady) => this.steadiness.push(isSteady),
      onSuccessor: (found) => this.successors.push(found),
    });
  }

  /** In steps so small that answers come in between. */
  async elapse(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= SECOND) {
      this.#time.pass(Math.min(SECOND, left));
      await turns(3);
    }
  }

  silence(): void {
    this.#cable.hold("far");
  }

  speak(): void {
    this.#cable.release("far");
  }

  /** Sends what wants an answer. */
  ask(): void {
    void this.#near.answers(MINUTE);
  }

  changeNetwork(): void {
    this.#hear(false);
  }

  /** The search that is under way, and those after it, come to nothing. */
  findNothing(): void {
    this.#isInVain = true;
    this.#found.reject(new Error("There is none"));
    this.#found.promise.catch(() => {});
  }

  async searchesThatFailed(): Promise<number> {
    await turns();
    return this.searches.length;
  }

  /** The search finds a link. */
  async find(): Promise<FoundLink> {
    const { near } = await linkPair(contextFor("alice", this.#time), contextFor("bob", this.#time));
    const found = { link: near, via: () => WEB_SOCKET };
    this.#found.resolve(found);
    await turns();
    return found;
  }

  end(): Promise<void> {
    return this.#watch.close();
  }

  async close(): Promise<void> {
    this.findNothing();
    const ending = this.#watch.close();
    this.#near.close("going-away");
    for (const { link } of this.successors) link.close("going-away");
    await ending;
  }
}

function watchTest(name: string, via: string, story: (scene: WatchScene) => Promise<void>): void {
  Deno.test(`LinkWatch ${name}`, async () => {
    using time = new FakeTime();
    const scene = await WatchScene.open(time, via);
    try {
      await story(scene);
    } finally {
      await scene.close();
    }
  });
}
