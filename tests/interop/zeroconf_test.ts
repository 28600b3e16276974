/** python3-zeroconf finds a server of ours, and announces one that a peer of ours finds. */

import { deepEqual, equal, ok } from "node:assert/strict";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { isInstanceOf } from "../../src/protocol/mdns/instance_name.ts";
import { LocalScene } from "../support/local_scene.ts";
import { type NatNetwork, natWorldObstacle } from "../support/nat_world.ts";
import { PYTHON, pythonHas } from "./python_peer.ts";

const OBSTACLE = natWorldObstacle ??
  (pythonHas("zeroconf") ? undefined : "Debian package python3-zeroconf is not installed");
const NOTE = OBSTACLE === undefined ? "" : `: SKIPPED, ${OBSTACLE}`;
const SCRIPT = new URL("zeroconf_peer.py", import.meta.url).pathname;
const PSK = "correct horse battery staple";

const zeroconf = (scene: LocalScene, machine: NatNetwork, mode: string, ...args: string[]) =>
  scene.run(machine.namespace, PYTHON, [SCRIPT, mode, machine.address, ...args]);

Deno.test({
  name: `zeroconf finds a server, learns nothing of whose it is, and hears its goodbye${NOTE}`,
  ignore: OBSTACLE !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const [home, laptop] = [await scene.addMachine(), await scene.addMachine()];
    const { program: server, id } = await scene.startServer(home, 9_091);
    const browser = zeroconf(scene, laptop, "browse");
    const [line = ""] = await browser.output.first(1);
    const { name, port, addresses, host, properties } = JSON.parse(line);
    const [instance = ""] = name.split(".");
    equal(name, `${instance}._cairn._tcp.local.`);
    ok(isInstanceOf(PeerId.from(id), instance));
    equal(host, `${instance}.local.`);
    deepEqual([port, addresses, properties], [9_091, [home.address], {}]);
    await server.end();
    const [, gone = ""] = await browser.output.first(2);
    deepEqual(JSON.parse(gone), { event: "gone", name });
  },
});

Deno.test({
  name: `a peer finds the server that zeroconf announces${NOTE}`,
  ignore: OBSTACLE !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const [home, laptop] = [await scene.addMachine(), await scene.addMachine()];
    const { id } = await scene.startServer(home, 9_091, "--mdns", "false", "--psk", PSK);
    const announcer = zeroconf(scene, home, "announce", id, home.address, "9091");
    await announcer.output.first(1);
    const pairing = scene.peer(laptop, "alice", "pair", "--peer", id, "--psk", PSK);
    deepEqual(await pairing.output.first(1), [id]);
  },
});
