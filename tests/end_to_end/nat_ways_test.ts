/** Peers and a server behind NATs of every kind: what carries their messages, and how soon. */

import { match, ok } from "node:assert/strict";
import { NatScene } from "../support/nat_scene.ts";
import {
  everyNatObstacle,
  type Firewall,
  type NatKind,
  natWorldObstacle,
} from "../support/nat_world.ts";

interface Case {
  readonly server: NatKind;
  readonly peers: NatKind;
  readonly firewall?: Firewall;
  readonly via: RegExp;
  readonly natKind: string;
  /** Run wherever it can be, not only when all are asked for. */
  readonly isUsual?: true;
}

const CASES: readonly Case[] = [
  { server: "none", peers: "none", via: /^ws:/, natKind: "open" },
  { server: "none", peers: "symmetric", via: /^ws:/, natKind: "symmetric" },
  { server: "port_restricted_cone", peers: "none", via: /^direct/, natKind: "open" },
  {
    server: "port_restricted_cone",
    peers: "port_restricted_cone",
    via: /^direct/,
    natKind: "port_restricted_cone",
    isUsual: true,
  },
  { server: "symmetric", peers: "full_cone", via: /^direct/, natKind: "restricted_cone" },
  { server: "symmetric", peers: "symmetric", via: /^relayed/, natKind: "symmetric", isUsual: true },
  {
    server: "symmetric",
    peers: "symmetric",
    firewall: "no udp",
    via: /^relayed/,
    natKind: "unknown",
  },
  {
    server: "port_restricted_cone",
    peers: "port_restricted_cone",
    firewall: "only 443",
    via: /^relayed/,
    natKind: "unknown",
  },
  {
    server: "port_restricted_cone",
    peers: "port_restricted_cone",
    firewall: "every fifth datagram lost",
    via: /^direct|^relayed/,
    natKind: "port_restricted_cone",
  },
];

for (const { server, peers, firewall = "none", via, natKind, isUsual } of CASES) {
  const obstacle = isUsual ? natWorldObstacle : everyNatObstacle;
  const skipped = obstacle === undefined ? "" : `: SKIPPED, ${obstacle}`;
  const wall = firewall === "none" ? "" : ` (${firewall})`;
  Deno.test({
    name: `Any network: server behind ${server}, peers behind ${peers}${wall}${skipped}`,
    ignore: obstacle !== undefined,
    async fn() {
      await using scene = await NatScene.open();
      await scene.startRelay();
      const id = await scene.startServer(server);
      const program = await scene.startPeers(id, peers, firewall);
      const report = await scene.report(program);
      match(report.via, via);
      const isLossy = firewall === "every fifth datagram lost";
      ok(isLossy || report.natKind === natKind, `the NAT was taken for ${report.natKind}`);
      if (report.via.startsWith("direct") && firewall === "none") {
        const bytes = await scene.relayedBytes();
        ok(bytes < 50_000, `${bytes} bytes went through the relay`);
      }
      await program.write("end");
    },
  });
}
