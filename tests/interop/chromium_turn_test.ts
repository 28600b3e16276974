import { deepEqual } from "node:assert/strict";
import { canTrust, Chromium, chromiumPath } from "../support/chromium.ts";
import { startTurn } from "./turn_under_test.ts";

const NO_CHROMIUM = " (ignored: Debian package chromium is not installed)";
const NO_CERTUTIL = " (ignored: Debian package libnss3-tools is not installed)";

/** Two connections in one page that may use nothing but the relay; what arrived, and how. */
function relayOnly(url: string): string {
  return `(async () => {
    const settings = {
      iceServers: [{ urls: [${JSON.stringify(url)}], username: "user", credential: "pass" }],
      iceTransportPolicy: "relay",
    };
    const a = new RTCPeerConnection(settings), b = new RTCPeerConnection(settings);
    const failed = new Promise((_, reject) => {
      a.onicecandidateerror = ({ errorCode, errorText }) => reject(errorCode + " " + errorText);
      setTimeout(() => reject("timeout"), 120_000);
    });
    a.onicecandidate = ({ candidate }) => candidate && b.addIceCandidate(candidate);
    b.onicecandidate = ({ candidate }) => candidate && a.addIceCandidate(candidate);
    const channel = a.createDataChannel("messages");
    const received = new Promise((resolve) => {
      b.ondatachannel = ({ channel }) => channel.onmessage = ({ data }) => resolve(data);
    });
    channel.onopen = () => channel.send("through the relay");
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription();
    await a.setRemoteDescription(b.localDescription);
    const data = await Promise.race([received, failed]);
    const stats = [...(await a.getStats()).values()];
    const pair = stats.find(({ type, nominated }) => type === "candidate-pair" && nominated);
    const local = stats.find(({ id }) => id === pair.localCandidateId);
    const remote = stats.find(({ id }) => id === pair.remoteCandidateId);
    a.close();
    b.close();
    return [data, local.candidateType, remote.candidateType, local.relayProtocol].join(", ");
  })()`;
}

for (const transport of ["udp", "tcp", "tls"] as const) {
  const note = chromiumPath ? transport === "tls" && !canTrust ? NO_CERTUTIL : "" : NO_CHROMIUM;
  Deno.test({
    name: `Chromium sends a data-channel message relay to relay over ${transport}${note}`,
    ignore: note !== "",
    async fn() {
      await using turn = await startTurn();
      const page = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        () =>
          new Response("<!doctype html><title>A page</title>", {
            headers: { "content-type": "text/html" },
          }),
      );
      try {
        await using browser = await Chromium.open(`http://127.0.0.1:${page.addr.port}/`, {
          ...(transport === "tls" && { trusted: turn.certPath }),
        });
        const url = transport === "tls"
          ? `turns:localhost:${turn.tlsPort}?transport=tcp`
          : `turn:127.0.0.1:${turn.port}?transport=${transport}`;
        deepEqual(
          await browser.run(relayOnly(url)),
          `through the relay, relay, relay, ${transport}`,
        );
      } finally {
        await page.shutdown();
      }
    },
  });
}
