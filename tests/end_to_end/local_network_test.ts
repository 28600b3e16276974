/** A home without the internet: its server is found on the local network, by mDNS alone. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { LocalScene } from "../support/local_scene.ts";
import type { Program } from "../support/namespace_program.ts";
import { ipv6Obstacle, type NatNetwork, natWorldObstacle } from "../support/nat_world.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const skipped = (obstacle: string | undefined) =>
  obstacle === undefined ? "" : `: SKIPPED, ${obstacle}`;
const note = skipped(natWorldObstacle);

Deno.test({
  name: `Local network: peers pair, write and find their server again without signaling${note}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const [home, laptop, phone] = [
      await scene.addMachine(),
      await scene.addMachine(),
      await scene.addMachine(),
    ];
    const { program: server, id } = await scene.startServer(home, 9_091);
    const [alice, bob] = await Promise.all([
      pairedPeer(scene, { machine: laptop, name: "alice", home, server: id }),
      pairedPeer(scene, { machine: phone, name: "bob", home, server: id }),
    ]);
    await say(scene, alice, bob, "dinner is ready");
    await say(scene, bob, alice, "coming");
    const [diagnosis = ""] = await scene.lines(home.namespace, ["doctor"], 1);
    match(diagnosis, /^ok: local network: the server is announced by mDNS at ws:/);

    // It falls silent without a goodbye, and comes back at an address and port that nobody knows.
    await server.kill();
    await home.changeAddress();
    await scene.startServer(home, 9_191);
    await say(scene, alice, bob, "it is getting cold");
    await say(scene, bob, alice, "one minute");
    await bob.listening.end();
    const said = await Array.fromAsync(scene.peer(phone, "bob", "doctor").output);
    ok(said.some((line) => /^ok: the server .* on the local network, at ws:.*:9191/.test(line)));
    equal(said.at(-1), "Everything works.");
  },
});

Deno.test({
  name: `Local network: a stranger who poses as the server keeps nobody from it${note}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const [home, laptop, cellar] = [
      await scene.addMachine(),
      await scene.addMachine(),
      await scene.addMachine(),
    ];
    const { program: server, id } = await scene.startServer(home, 9_091);
    const alice = await pairedPeer(scene, { machine: laptop, name: "alice", home, server: id });
    const stranger = scene.deno(cellar.namespace, "tests/support/mdns_stranger.ts", [
      cellar.address,
    ]);
    await stranger.output.first(1);
    const bob = await pairedPeer(scene, { machine: laptop, name: "bob", home, server: id });
    // With a certificate that names neither address: it is the link that proves who is there.
    await using tls = hasOpenssl ? await makeSelfSigned() : undefined;
    const certificate = tls ? ["--tls-cert", tls.certPath, "--tls-key", tls.keyPath] : [];
    await server.kill();
    await home.changeAddress();
    await scene.startServer(home, 9_191, ...certificate);
    await say(scene, alice, bob, "who is that in the cellar?");

    await stranger.write("report");
    const [, report = ""] = await stranger.output.first(2);
    const { dialed } = JSON.parse(report);
    ok(dialed < 200, `it was dialed ${dialed} times`);
  },
});

Deno.test({
  name: `Local network: a peer finds its server where there is nothing but IPv6${
    skipped(ipv6Obstacle)
  }`,
  ignore: ipv6Obstacle !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const [home, laptop] = [await scene.addMachineOfIpv6(1), await scene.addMachineOfIpv6(2)];
    const { id } = await scene.startServer(home, 9_091, "--listen-addr", "[::]:9091");
    const pairing = scene.peer(laptop, "alice", "pair", "--pin", await scene.pin(home));
    deepEqual(await pairing.output.first(1), [id]);
  },
});

Deno.test({
  name: `Local network: a server is announced once another program leaves it the port${note}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await LocalScene.open();
    const home = await scene.addMachine();
    const holder = scene.run(home.namespace, Deno.execPath(), [
      "eval",
      "--unstable-net",
      'Deno.listenDatagram({ transport: "udp", hostname: "::", port: 5353 }); ' +
      'console.log("held"); setInterval(() => {}, 1_000);',
    ]);
    await holder.output.first(1);
    const { program: server } = await scene.startServer(home, 9_091);
    await server.logged(/The server is not announced by mDNS/);
    await holder.kill();
    await server.logged(/The server is announced on/);
  },
});

interface ListeningPeer {
  readonly machine: NatNetwork;
  readonly name: string;
  readonly id: string;
  readonly listening: Program;
  /** Lines that have come so far. */
  lines: number;
}

/** Pairs by a PIN and nothing else, and listens from then on. */
async function pairedPeer(
  scene: LocalScene,
  { machine, name, home, server }: {
    readonly machine: NatNetwork;
    readonly name: string;
    readonly home: NatNetwork;
    readonly server: string;
  },
): Promise<ListeningPeer> {
  const pairing = scene.peer(machine, name, "pair", "--pin", await scene.pin(home));
  equal((await pairing.output.first(1))[0], server);
  const [id = ""] = await scene.peer(machine, name, "id").output.first(1);
  const listening = scene.peer(machine, name, "listen");
  return { machine, name, id, listening, lines: 0 };
}

/** One message, which the other one shows. */
async function say(scene: LocalScene, from: ListeningPeer, to: ListeningPeer, text: string) {
  const sending = scene.peer(from.machine, from.name, "send", to.id, text);
  const lines = await to.listening.output.first(to.lines += 1);
  match(lines.at(-1) ?? "", new RegExp(`${from.id}.*${text.replace("?", "\\?")}`));
  await sending.output.first(1);
}
