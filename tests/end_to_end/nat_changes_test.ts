/** What peers do when a way that they use is lost: another one, no message lost or repeated. */

import { match, notEqual, ok } from "node:assert/strict";
import { NatScene } from "../support/nat_scene.ts";
import { everyNatObstacle, natWorldObstacle } from "../support/nat_world.ts";

const note = (obstacle?: string) => obstacle === undefined ? "" : `: SKIPPED, ${obstacle}`;
/** What is under way when something happens. */
const TRANSFER = { messages: 100, bytes: 60_000 };
/** Milliseconds within which messages come again; machines that test are busy. */
const PATIENCE = 120_000;

Deno.test({
  name: `A changed network: peers get another public address and go on${note(natWorldObstacle)}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    await scene.startRelay();
    const id = await scene.startServer("port_restricted_cone");
    const program = await scene.startPeers(id, "port_restricted_cone");
    await scene.report(program);
    await scene.until(program, /^direct/);
    const { pause } = await scene.transfer(program, TRANSFER, async () => {
      await scene.peers?.changeAddress();
    });
    ok(pause < PATIENCE, `no message came for ${pause} ms`);
    // A direct way comes back, too; on a busy machine that has been seen to take minutes.
    if (everyNatObstacle === undefined) await scene.until(program, /^direct/);
    await program.write("end");
  },
});

Deno.test({
  name: `A relay that dies: its peers take another one${note(everyNatObstacle)}`,
  ignore: everyNatObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    const first = await scene.startRelay(11);
    const second = await scene.startRelay(12);
    const id = await scene.startServer("symmetric", "none", [11, 12]);
    const program = await scene.startPeers(id, "symmetric", "no udp");
    await scene.report(program);
    const { via } = await scene.until(program, /^relayed/);
    // The peers' own relay, where there is one, comes last in the words.
    const isSecond = via.lastIndexOf(scene.world.service(12)) >
      via.lastIndexOf(scene.world.service(11));
    const after = await scene.transfer(
      program,
      TRANSFER,
      () => (isSecond ? second : first).kill(),
    );
    ok(after.pause < PATIENCE, `no message came for ${after.pause} ms`);
    notEqual(after.via, via);
    await program.write("end");
  },
});

Deno.test({
  name: `A signaling server that dies does not touch links that are up${note(everyNatObstacle)}`,
  ignore: everyNatObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    await scene.startRelay();
    const id = await scene.startServer("port_restricted_cone");
    const program = await scene.startPeers(id, "port_restricted_cone");
    await scene.report(program);
    await scene.until(program, /^direct/);
    const { via } = await scene.transfer(program, TRANSFER, async () => {
      await scene.signal?.kill();
    });
    match(via, /^direct/);
    await program.write("end");
  },
});

Deno.test({
  name: `A relay 200 ms away that loses every fifth datagram${note(everyNatObstacle)}`,
  ignore: everyNatObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open(600);
    await scene.startRelay(11);
    // Twice through it, from peer to relay and from relay to peer: 200 ms, 20 % lost.
    await scene.startTap({
      transport: "udp",
      listen: `${scene.world.service(12)}:3478`,
      server: `${scene.world.service(11)}:3478`,
      delay: 100,
      lost: 106,
    });
    const id = await scene.startServer("symmetric", "none", [12]);
    const program = await scene.startPeers(id, "symmetric", "none", 1);
    await scene.report(program);
    await scene.until(program, /^relayed/);
    await scene.transfer(program, { messages: 20, bytes: 2_000 });
    await program.write("end");
  },
});

Deno.test({
  name: `A WebSocket that falls silent gives way to datagrams, and they to a WebSocket${
    note(everyNatObstacle)
  }`,
  ignore: everyNatObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    await scene.startRelay();
    const id = await scene.startServer("none");
    const program = await scene.startPeers(id, "port_restricted_cone");
    await scene.report(program);
    await scene.until(program, /^ws:/);
    await scene.peers?.changeFirewall("no tcp but 443");
    await scene.until(program, /^direct/);
    await scene.peers?.changeFirewall("none");
    await scene.until(program, /^ws:/);
    await program.write("end");
  },
});

for (const [server, via] of [["none", /^ws:/], ["port_restricted_cone", /^direct/]] as const) {
  Deno.test({
    name: `A machine that gets another address keeps its link (${via})${note(everyNatObstacle)}`,
    ignore: everyNatObstacle !== undefined,
    async fn() {
      await using scene = await NatScene.open();
      await scene.startRelay();
      const id = await scene.startServer(server);
      const program = await scene.startPeers(id, "none");
      await scene.report(program);
      await scene.until(program, via);
      const { pause } = await scene.transfer(program, TRANSFER, async () => {
        await scene.peers?.changeAddress();
      });
      ok(pause < PATIENCE, `no message came for ${pause} ms`);
      await program.write("end");
    },
  });
}
