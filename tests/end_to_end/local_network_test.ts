/** A home without the internet: its server is found on the local network, by mDNS alone. */

import { equal, match } from "node:assert/strict";
import { LocalScene } from "../support/local_scene.ts";
import { natWorldObstacle } from "../support/nat_world.ts";

const note = natWorldObstacle === undefined ? "" : `: SKIPPED, ${natWorldObstacle}`;

Deno.test({
  name: `Local network: peers pair, write and find their server again without signaling${note}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const home = await scene.addMachine();
    const laptop = await scene.addMachine();
    const { program: server, id } = await scene.startServer(home, 9091);
    for (const name of ["alice", "bob"]) {
      const pairing = scene.peer(laptop, name, "pair", "--pin", await scene.pin(home));
      equal((await pairing.output.first(1))[0], id);
    }
  },
});
