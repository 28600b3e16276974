import { equal, rejects } from "node:assert/strict";
import { CairnError } from "../../src/base/errors.ts";
import { untilInStep } from "../../src/cli/sync_once.ts";
import type { Node } from "../../src/roles/peer/node.ts";
import { FolderPace, TICK_MS } from "../../src/roles/folder/folder_pace.ts";
import { FakeTime, turns } from "../support/fake_time.ts";
import { identityFor } from "../support/identities.ts";

const PAIRED = { mechanism: "psk", pairedAt: 0, peerId: identityFor("server").peerId };

Deno.test("peer sync --once ends when the devices that are there are in step", async () => {
  using scene = new Scene();
  scene.isConnected = true;
  const end = scene.untilInStep();
  await scene.pass(100_000);
  scene.isSettled = true;
  await scene.pass(1_000);
  await end;
});

Deno.test("peer sync --once gives up after two minutes in which nothing came", async () => {
  using scene = new Scene();
  scene.isConnected = true;
  const end = scene.untilInStep();
  const failure = rejects(end, { code: "timeout" });
  await scene.pass(100_000);
  scene.pace.changed();
  await scene.pass(115_000);
  equal(scene.pace.isStalled, false, "what came has begun them anew");
  await scene.pass(10_000);
  await failure;
});

Deno.test("peer sync --once does not count the time in which it is busy itself", async () => {
  using scene = new Scene();
  scene.isGiving = true;
  await scene.pass(200_000);
  equal(scene.pace.isStalled, false, "it gives");
  scene.isGiving = false;
  scene.isLooking = true;
  await scene.pass(200_000);
  equal(scene.pace.isStalled, false, "it reads");
  scene.isLooking = false;
  await scene.pass(125_000);
  equal(scene.pace.isStalled, true);
});

Deno.test("peer sync --once looks for a server for a minute, and tells why there is none", async () => {
  using scene = new Scene();
  const failure = rejects(scene.untilInStep(), { code: "unreachable" });
  await scene.pass(65_000);
  await failure;
  scene.node.lastFailure = new CairnError("refused", "The server does not know this peer");
  const reason = rejects(scene.untilInStep(), { code: "refused" });
  await scene.pass(65_000);
  await reason;
});

Deno.test("peer sync --once fails when files were left out, and not when the user ends it", async () => {
  using scene = new Scene();
  scene.isSettled = scene.isConnected = true;
  scene.sync.leftOut = 3;
  await rejects(scene.untilInStep(), { code: "too-large", message: /: 3 of them/ });
  scene.isSettled = false;
  const end = scene.untilInStep();
  scene.ended.abort();
  await scene.pass(1_000);
  await end;
});

/** A sync that gets no further, and its node. */
class Scene implements Disposable {
  readonly time = new FakeTime();
  readonly pace = new FolderPace(this.time);
  readonly ended = new AbortController();
  readonly sync = {
    leftOut: 0,
    isSettled: () => this.isSettled,
    isStalled: () => this.pace.isStalled,
  };
  readonly node: Pick<Node, "pairings"> & { lastFailure: Error | undefined } = {
    lastFailure: undefined,
    pairings: () => [{ ...PAIRED, connected: this.isConnected }],
  };
  isConnected = false;
  isSettled = false;
  isGiving = false;
  isLooking = false;

  constructor() {
    setInterval(() => this.pace.turned(this), TICK_MS);
  }

  untilInStep(): Promise<void> {
    const { signal } = this.ended;
    return untilInStep({ sync: this.sync, node: this.node, signal, host: this.time });
  }

  /** Time goes on, with everything that it sets off. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.time.pass(1_000);
      await turns(2);
    }
  }

  [Symbol.dispose](): void {
    this.time[Symbol.dispose]();
  }
}
