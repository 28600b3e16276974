import { rejects } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { createServer } from "../../../src/mod.ts";
import { parsePin } from "../../../src/protocol/pairing/pin.ts";
import { ChallengeBudget, findByPin } from "../../../src/roles/peer/pin_search.ts";
import { contextFor } from "../../support/link_pair.ts";
import { SignalHub } from "../../support/signal_hub.ts";

Deno.test("A server nearby that did not make the PIN does not end the search for the one that did", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-pin-" });
  const neighbour = createServer({
    storagePath: folder,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
  });
  const ending = new AbortController();
  try {
    await neighbour.start();
    const url = `ws://127.0.0.1:${neighbour.addresses.links.port}/link`;
    const hub = new SignalHub();
    const hasAskedOn = Promise.withResolvers<void>();
    hub.passes = () => {
      if (hub.relayed.length === 3) hasAskedOn.resolve();
      return true;
    };
    const found = findByPin(
      {
        urls: [],
        clients: [hub.client()],
        local: {
          look: (_server, onUrl) => {
            onUrl(url);
            return () => {};
          },
          watch: () => () => {},
          close: () => Promise.resolve(),
        },
        topic: "pin",
        context: contextFor("alice", systemHost),
        signal: ending.signal,
      },
      { mechanism: "pin", pin: parsePin("98AF-XZ2P")! },
      new ChallengeBudget(),
    );
    await Promise.race([hasAskedOn.promise, found]);
    ending.abort();
    await rejects(found, { code: "timeout" });
  } finally {
    ending.abort();
    await neighbour.close();
    await Deno.remove(folder, { recursive: true });
  }
});
