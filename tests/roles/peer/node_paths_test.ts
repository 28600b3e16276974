import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { UdpPaths } from "../../../src/roles/path/udp_paths.ts";
import { useHintedRelays } from "../../../src/roles/peer/node_paths.ts";

const TURN = "turn:relay.example.com:3478";
const turnUser = { username: "user", password: "pass" };

for (
  const { options, isUsed, when } of [
    { options: { turnUser }, isUsed: true, when: "there is a user for relays" },
    { options: {}, isUsed: false, when: "there is none" },
    {
      options: { turnUser, turnServers: ["turn:mine.example.com"] },
      isUsed: false,
      when: "the user is another relay's",
    },
  ]
) {
  Deno.test(`A relay that a pairing link names is ${isUsed ? "" : "not "}used where ${when}`, async () => {
    const paths = new UdpPaths({ host: systemHost, relays: [], interfaces: () => [] });
    useHintedRelays(paths, options, [TURN]);
    assert.equal(paths.knowsRelay, isUsed);
    await paths.close();
  });
}
