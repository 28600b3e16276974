import { getRequestListener } from "@hono/node-server";
import { listen } from "../../src/roles/http.ts";
import { VERSION } from "../../src/version.ts";
import { idOf, ManagedScene } from "../roles/server/managed_scene.ts";
import { identityFor } from "./identities.ts";

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;

/** The management of a server with a past, at `url`; its token is that of the scene. */
export async function inventedServer(): Promise<
  { readonly scene: ManagedScene; readonly url: string } & AsyncDisposable
> {
  const scene = scenery(Date.now());
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onRequest: getRequestListener(scene.api.fetch),
  });
  return {
    scene,
    url: `http://127.0.0.1:${listener.address.port}/`,
    async [Symbol.asyncDispose]() {
      scene.streams.close();
      await listener.close();
    },
  };
}

/** A home with five devices, a week after its server was started. */
function scenery(now: number): ManagedScene {
  const scene = new ManagedScene();
  const { host, events, history } = scene;
  scene.version = VERSION;
  scene.paired.clear();
  scene.connected.clear();
  const devices = [
    ["phone", "Anna’s phone", "pin", 41, true, 0.1, 0, 0],
    ["laptop", "Anna’s laptop", "link", 38, false, 3, 12, 48_300],
    ["tablet", "Kitchen tablet", "psk", 30, true, 0.3, 0, 0],
    ["watch", null, "approved", 12, false, 9, 1, 412],
    ["backup", "Backup at Ben’s", "pin", 6, true, 2, 8_400, 61_000_000],
  ] as const;
  host.wall = now - 9 * DAY;
  for (const [label, name, mechanism, days, isOnline, hours, messages, bytes] of devices) {
    const { peerId } = identityFor(label);
    const text = peerId.toString();
    scene.paired.set(text, {
      peerId,
      mechanism,
      pairedAt: now - days * DAY,
      lastSeen: now - hours * 60 * MINUTE,
    });
    if (isOnline) scene.connected.add(text);
    if (name !== null) scene.peerNames.set(text, name);
    scene.accounts?.put(label, messages, bytes);
  }
  const happened = [
    [190, "peer.disconnected", { peer_id: idOf("laptop") }],
    [120, "peer.connected", { peer_id: idOf("backup") }],
    [48, "pairing.offer-made", { kind: "pin", state: "open" }],
    [47, "pairing.attempt-failed", { mechanism: "pin" }],
    [46, "pairing.offer-ended", { kind: "pin", state: "withdrawn" }],
    [18, "peer.connected", { peer_id: idOf("tablet") }],
    [6, "peer.connected", { peer_id: idOf("phone") }],
    [1, "pairing.requested", { peer_id: idOf("newcomer"), sas: "042137" }],
  ] as const;
  for (const [minutes, type, data] of happened) {
    host.wall = now - minutes * MINUTE;
    events.publish({ type, data });
  }
  host.wall = now;
  host.mono += 9 * DAY;
  scene.pairing.ask("newcomer");
  for (let step = 0; step < 360; step++) {
    const busy = Math.max(0, Math.sin(step / 23) + Math.sin(step / 7) / 3);
    history.add({
      at: now - (359 - step) * 10_000,
      connectedPeers: step < 130 ? 1 : step < 290 ? 2 : 3,
      waitingMessages: 4_000 + Math.round(12 * step + 900 * busy),
      storedBytes: 30_000_000 + Math.round(86_000 * step + 9_000_000 * busy),
      relayPairs: busy > 0 ? 1 : 0,
      freeBytes: 41_000_000_000,
      relayedBytes: Math.round(2_400_000 * busy),
    });
  }
  scene.free = 41_000_000_000;
  return scene;
}
