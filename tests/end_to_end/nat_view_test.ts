/** What the signaling server and the relay see of peers that meet by them. */

import { deepEqual, ok } from "node:assert/strict";
import { MAGIC_COOKIE } from "../../src/protocol/stun/message.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { parseIp } from "../../src/base/address.ts";
import { u32 } from "../../src/base/bytes.ts";
import { NatScene } from "../support/nat_scene.ts";
import { natWorldObstacle } from "../support/nat_world.ts";
import { searchBytes, type Secret } from "../support/secret_search.ts";

const note = natWorldObstacle === undefined ? "" : `: SKIPPED, ${natWorldObstacle}`;

Deno.test({
  name: `Signaling and relay see no text, no Peer ID and no address of the peers${note}`,
  ignore: natWorldObstacle !== undefined,
  async fn() {
    await using scene = await NatScene.open();
    await scene.startRelay(11);
    const [signalView, relayView] = [`${scene.folder}/signal.view`, `${scene.folder}/relay.view`];
    const tapped = scene.world.service(12);
    await scene.startTap({
      transport: "tcp",
      listen: `${tapped}:443`,
      server: scene.signalAddress,
      file: signalView,
    });
    await scene.startTap({
      transport: "udp",
      listen: `${tapped}:3478`,
      server: `${scene.world.service(11)}:3478`,
      file: relayView,
    });
    scene.signalAddress = `${tapped}:443`;
    const id = await scene.startServer("symmetric", "none", [12]);
    const program = await scene.startPeers(id, "symmetric");
    const { peerIds } = await scene.report(program);
    await scene.until(program, /^relayed/);
    await program.write("end");

    const secrets: Secret[] = [
      { name: "the text", value: scene.mark },
      ...[id, ...peerIds].flatMap((peerId) => [
        { name: `Peer ID ${peerId}`, value: peerId },
        { name: `Peer ID ${peerId} as bytes`, value: PeerId.from(peerId).bytes },
      ]),
    ];
    const networks = [scene.server, scene.peers].flatMap((network) => network ?? []);
    const inside = networks.map(({ address }) => address);
    const outside = networks.map(({ publicAddress }) => publicAddress);
    const signaled = await Deno.readFile(signalView);
    const relayed = await Deno.readFile(relayView);
    deepEqual(searchBytes(signaled, secrets), []);
    deepEqual(searchBytes(relayed, secrets), []);
    deepEqual([...inside, ...outside].filter((address) => names(signaled, address)), []);
    deepEqual(inside.filter((address) => names(relayed, address)), []);
    // The search finds what is there.
    ok(names(relayed, scene.world.service(11)));
    ok(searchBytes(signaled, [{ name: "protocol", value: "cairn.signal.v1" }]).length > 0);
    ok(relayed.length > 100_000);
  },
});

/** Whether an address occurs as text, as bytes, or as TURN masks it (RFC 8489 section 14.2). */
function names(view: Uint8Array, address: string): boolean {
  const bytes = parseIp(address);
  ok(bytes);
  const mask = u32(MAGIC_COOKIE);
  const masked = bytes.map((byte, index) => byte ^ mask[index]!);
  const needles = [new TextEncoder().encode(address), bytes, masked];
  return needles.some((needle) => contains(view, needle));
}

function contains(view: Uint8Array, needle: Uint8Array): boolean {
  for (let at = view.indexOf(needle[0]!); at >= 0; at = view.indexOf(needle[0]!, at + 1)) {
    if (needle.every((byte, index) => view[at + index] === byte)) return true;
  }
  return false;
}
