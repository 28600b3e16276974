// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Takes the pictures of docs/dashboard.md: the dashboard of an invented server, on a desktop and on
 * a phone, light and dark. `deno task screenshots [--output FOLDER]`; needs Chromium.
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { getRequestListener } from "@hono/node-server";
import { listen } from "../src/roles/http.ts";
import { VERSION } from "../src/version.ts";
import { idOf, ManagedScene, TOKEN } from "../tests/roles/server/managed_scene.ts";
import { DashboardPage } from "../tests/support/dashboard_page.ts";
import { identityFor } from "../tests/support/identities.ts";
import { smallPng } from "./small_png.ts";

const VIEWS = [
  ["desktop-light", 1280, 900, "light"],
  ["desktop-dark", 1280, 900, "dark"],
  ["phone-light", 360, 740, "light"],
  ["phone-dark", 360, 740, "dark"],
] as const;
const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;
const WITHIN = 60_000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    output: { type: "string", default: fileURLToPath(new URL("../docs", import.meta.url)) },
  },
});

const scene = inventedServer(Date.now());
const listener = await listen({
  host: "127.0.0.1",
  port: 0,
  onRequest: getRequestListener(scene.api.fetch),
});
try {
  await using page = await DashboardPage.open(
    `http://127.0.0.1:${listener.address.port}/`,
    AbortSignal.timeout(WITHIN),
  );
  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);
  await page.until("the plots", `document.querySelector("svg .line").getAttribute("d").length > 9`);
  await page.browser.run("document.activeElement.blur()");
  for (const [name, width, height, colour] of VIEWS) {
    await page.as(width, height, colour);
    const file = `${values.output}/dashboard-${name}.png`;
    await Deno.writeFile(file, smallPng(await page.picture()));
    console.log(file);
  }
} finally {
  scene.streams.close();
  await listener.close();
}

/** A home with five devices, a week after its server was started. */
function inventedServer(now: number): ManagedScene {
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
