import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { createServer, type ServerOptions } from "../../../src/mod.ts";
import { checkOptions } from "../../../src/roles/server/checked_options.ts";

const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
const STORE = { storagePath: "/nowhere" };

for (
  const [name, options] of [
    ["forward.maxPerPeer", { forward: { maxPerPeer: 0 } }],
    ["forward.maxAgeMs", { forward: { maxAgeMs: -1 } }],
    ["forward.maxAgeMs", { forward: { maxAgeMs: NaN } }],
    ["forward.maxTotalBytes", { forward: { maxTotalBytes: Infinity } }],
    ["maxMessageRetentionSecs", { maxMessageRetentionSecs: 0.5 }],
    ["relayCapacity", { relayCapacity: -1 }],
    ["relayPeerRate", { relayPeerRate: 0 }],
    ["management.port", { management: { port: 65_536 } }],
    ["signalServers", { signalServers: ["wss://signal.example.com", "signal.example.com"] }],
    ["turnServers", { turnServers: ["https://relay.example.com"] }],
    ["approved peers", { approvedPeers: [PEER, "5Hb7"] }],
    ["pre-shared key", { psk: "too short" }],
  ] as const satisfies readonly (readonly [string, Partial<ServerOptions>])[]
) {
  Deno.test(`createServer() refuses a wrong ${name}: ${JSON.stringify(options)}`, async () => {
    await rejects(createServer({ ...STORE, ...options }).start(), (error) => {
      equal(Reflect.get(Object(error), "code"), "invalid-option");
      match(String(error), new RegExp(name));
      return true;
    });
  });
}

Deno.test("checkOptions() reads Peer IDs and leaves the rest as it is", () => {
  const options = {
    ...STORE,
    forward: { maxPerPeer: 1, maxAgeMs: 1, maxTotalBytes: 1 },
    relayCapacity: 0,
    management: { port: 0 },
    signalServers: ["ws://signal.example.com:8443"],
    turnServers: ["turn:relay.example.com:3478"],
  };
  const { approvedPeers, host: _, ...rest } = checkOptions({ ...options, approvedPeers: [PEER] });
  deepEqual(rest, options);
  deepEqual(approvedPeers.map(String), [PEER]);
  throws(() => checkOptions({ ...STORE, psk: "" }), { code: "invalid-option" });
});
