/** Peers and a server behind NATs of every kind: what carries their messages, and how soon. */

import { NatScene } from "../support/nat_scene.ts";
import { hasOpenssl } from "../support/self_signed.ts";
import {
  coturnObstacle,
  everyNatObstacle,
  type Firewall,
  type NatKind,
  natWorldObstacle,
} from "../support/nat_world.ts";

interface Case {
  readonly server: NatKind;
  readonly peers: NatKind;
  readonly firewall?: Firewall;
  /** Whose relay, or which; default one of cairn's, over UDP and TCP. */
  readonly relay?: "coturn" | "TLS" | "two relays";
  readonly via: RegExp;
  readonly natKind: string;
  /** Run wherever it can be, not only when all are asked for. */
  readonly isUsual?: true;
}

/** What the peers write while the relay's bytes are counted, and what checks of ways need at most. */
const WRITING = { messages: 20, bytes: 60_000 };
const CHECKS = 200_000;

const CASES: readonly Case[] = [
  { server: "none", peers: "none", via: /^ws:/, natKind: "open" },
  { server: "none", peers: "symmetric", via: /^ws:/, natKind: "symmetric" },
  { server: "none", peers: "symmetric", firewall: "no udp", via: /^ws:/, natKind: "unknown" },
  { server: "port_restricted_cone", peers: "none", via: /^direct/, natKind: "open" },
  {
    server: "port_restricted_cone",
    peers: "port_restricted_cone",
    via: /^direct/,
    natKind: "port_restricted_cone",
    isUsual: true,
  },
  { server: "symmetric", peers: "full_cone", via: /^direct/, natKind: "restricted_cone" },
  // What a second relay on another address can send unasked tells one from the other.
  {
    server: "symmetric",
    peers: "full_cone",
    relay: "two relays",
    via: /^direct/,
    natKind: "full_cone",
  },
  { server: "symmetric", peers: "symmetric", via: /^relayed/, natKind: "symmetric", isUsual: true },
  {
    server: "symmetric",
    peers: "symmetric",
    relay: "coturn",
    via: /^relayed/,
    natKind: "symmetric",
  },
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
    isUsual: true,
  },
  {
    server: "port_restricted_cone",
    peers: "port_restricted_cone",
    firewall: "only 443",
    relay: "TLS",
    via: /^relayed .*through tls /,
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

for (const { server, peers, firewall = "none", relay, via, natKind, isUsual } of CASES) {
  const obstacle = (isUsual ? natWorldObstacle : everyNatObstacle) ??
    (relay === "coturn" ? coturnObstacle : undefined) ??
    (relay === "TLS" && !hasOpenssl ? "openssl is not installed" : undefined);
  const skipped = obstacle === undefined ? "" : `: SKIPPED, ${obstacle}`;
  const wall = firewall === "none" ? "" : ` (${firewall})`;
  const through = relay === undefined ? "" : `, through ${relay}`;
  Deno.test({
    name: `Any network: server behind ${server}, peers behind ${peers}${wall}${through}${skipped}`,
    ignore: obstacle !== undefined,
    async fn() {
      await using scene = await NatScene.open();
      await (relay === "coturn"
        ? scene.startCoturn()
        : scene.startRelay(11, relay === "TLS" ? "tls" : "tcp"));
      if (relay === "two relays") await scene.startRelay(12);
      const relays = relay === "two relays" ? [11, 12] as const : [11] as const;
      const id = await scene.startServer(server, "none", relays);
      const program = await scene.startPeers(id, peers, firewall);
      const report = await scene.report(program);
      const isLossy = firewall === "every fifth datagram lost";
      // On a busy machine the better way may come only after the first messages, and an answer of
      // the relay too late for what Bob says about his NAT.
      const isKnown = isLossy || report.natKind === natKind;
      if (!isKnown || !via.test(report.via)) {
        await scene.until(program, via, isLossy ? undefined : natKind);
      }
      if (relay === undefined && !isLossy) {
        const isRelayed = via.test("relayed");
        const expected = (bytes: number) =>
          isRelayed ? bytes > WRITING.messages * WRITING.bytes : bytes < CHECKS;
        await scene.writeUntilRelayed(program, WRITING, expected);
      }
      await program.write("end");
    },
  });
}
