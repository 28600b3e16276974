import { parseIp, parsePrefix } from "../../src/base/address.ts";
import { type Host, systemHost } from "../../src/base/host.ts";
import type { RelayOptions } from "../../src/roles/relay/relay_options.ts";
import { startRelay } from "../../src/roles/relay/run_relay.ts";
import { openUdpEngine } from "../../src/roles/relay/udp_engine.ts";
import { RelayThreads } from "../../src/roles/relay/workers/relay_threads.ts";
import { freePort } from "./free_port.ts";
import { TEST_RELAY_WORKERS } from "./test_relay_workers.ts";
import { TEST_UDP_ENGINE } from "./test_udp_engine.ts";
import { WireClient, type WireTarget } from "./wire_client.ts";

const LOOPBACK = ["127.0.0.0/8", "::1/128"].map((text) => parsePrefix(text)!);
const LOCALHOST = ["127.0.0.1", "::1"].map((text) => parseIp(text)!);
/** Below the ports that systems give to sockets of tests, which would be taken for relayed ones. */
const RELAY_PORTS = { min: 10_000, max: 19_999 };
/** Tests may ask and be wrong as often as they like. */
const UNLIMITED = { burst: 1e9, perSecond: 1e9 };

const WITHIN_MS = 120_000;

/** A relay on free ports of this machine's loopback, and clients that end with it. */
export async function startedRelay(
  options: Partial<RelayOptions> = {},
  host: Host = systemHost,
  workers: number = TEST_RELAY_WORKERS,
) {
  const sockets = openUdpEngine(TEST_UDP_ENGINE);
  // Other threads have the clocks of the system.
  const threads = await RelayThreads.open(sockets, host === systemHost ? workers : 0);
  const relay = await startRelay(
    {
      listenAddr: `127.0.0.1:${freePort()}`,
      tlsAddr: "127.0.0.1:0",
      metricsAddr: "127.0.0.1:0",
      users: [{ username: "user", password: "pass" }],
      restSecrets: ["secret"],
      allowPeers: LOOPBACK,
      denyPeers: [],
      relayIps: LOCALHOST,
      relayPorts: RELAY_PORTS,
      rates: { challengeRate: UNLIMITED, bindingRate: UNLIMITED, failureRate: UNLIMITED },
      ...options,
    },
    host,
    sockets,
    threads,
  );
  const clients: WireClient[] = [];
  const { port } = relay.udpAddress;
  const tlsPort = relay.tlsAddress?.port;
  const metricsPort = relay.metricsAddress?.port ?? NaN;
  const metrics = async () => {
    const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
    return await response.text();
  };
  return {
    port,
    tlsPort,
    apiPort: relay.apiAddress?.port ?? NaN,
    metricsPort,
    metrics,
    /** Waits until the metrics say so. */
    async until(pattern: RegExp): Promise<void> {
      const deadline = performance.now() + WITHIN_MS;
      for (let text = await metrics(); !pattern.test(text); text = await metrics()) {
        if (performance.now() > deadline) {
          throw new Error(`Waited in vain for ${pattern}:\n${text}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    reload: () => relay.reload(),
    close: () => relay.close(),
    /** A client that has said nothing yet. */
    async client(target: Partial<WireTarget> = {}): Promise<WireClient> {
      const isTls = target.transport === "tls";
      const client = await WireClient.open({
        transport: "udp",
        port: isTls ? tlsPort ?? NaN : port,
        ...target,
      });
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await Promise.all(clients.map(({ ended }) => ended));
      await relay.close();
    },
  };
}
