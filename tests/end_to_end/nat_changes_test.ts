/** What peers do when a way that they use is lost: another one, no message lost or repeated. */

import { match, notEqual, ok } from "node:assert/strict";
import type { Program } from "../support/namespace_program.ts";
import { NatScene } from "../support/nat_scene.ts";
import { everyNatObstacle, natWorldObstacle } from "../support/nat_world.ts";

const note = (obstacle?: string) => obstacle === undefined ? "" : `: SKIPPED, ${obstacle}`;

Deno.test({
  name: `A changed network: peers get another public address and go on${note(natWorldObstacle)}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    await scene.startRelay();
    const id = await scene.startServer("port_restricted_cone");
    const program = await scene.startPeers(id, "port_restricted_cone");
    match((await scene.report(program)).via, /^direct/);
    await scene.peers?.changeAddress();
    const { ms } = await round(program, 3);
    ok(ms < 60_000, `the message took ${ms} ms`);
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
    const { via } = await scene.report(program);
    match(via, /^relayed/);
    const isFirst = via.includes(scene.world.service(11));
    await (isFirst ? first : second).kill();
    const after = await round(program, 3);
    ok(after.ms < 60_000, `the message took ${after.ms} ms`);
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
    await scene.signal?.kill();
    const { via } = await round(program, 3);
    match(via, /^direct/);
    await program.write("end");
  },
});

/** Lets the peers exchange one more message; `line` is that of their report. */
async function round(program: Program, line: number): Promise<{ ms: number; via: string }> {
  await program.write("again");
  return JSON.parse((await program.output.first(line))[line - 1] ?? "");
}
