import { type Host, systemHost } from "../../src/base/host.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import type { SignalOptions } from "../../src/roles/signal/signal_options.ts";
import { ForeignClient, type ForeignOptions } from "./foreign_client.ts";

/** A signaling server on a free port of this machine, and foreign clients that end with it. */
export async function startedSignal(
  options: Partial<SignalOptions> = {},
  host: Host = systemHost,
) {
  const signal = await startSignal(
    { listenAddr: "127.0.0.1:0", authTokens: [], ...options },
    host,
  );
  const { port } = signal.address;
  const url = options.tls ? `wss://localhost:${port}` : `ws://127.0.0.1:${port}`;
  const clients: ForeignClient[] = [];
  return {
    port,
    metricsPort: signal.metricsAddress?.port ?? NaN,
    reload: () => signal.reload(),
    close: () => signal.close(),
    async client(options: ForeignOptions = {}, path = "/"): Promise<ForeignClient> {
      const client = await ForeignClient.open(url + path, options);
      clients.push(client);
      return client;
    },
    /** A page's client: it names where it comes from and offers the subprotocol. */
    page(origin = "https://app.example.com", ...protocols: string[]): Promise<ForeignClient> {
      return this.client({ origin, protocols: ["cairn.signal.v1", ...protocols] });
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of clients) socket.close();
      await Promise.all(clients.map(({ closed }) => closed));
      await signal.close();
    },
  };
}

/** The system's clock and chance, with a monotonic clock that a test moves. */
export function movableHost(): Host & { pass(milliseconds: number): void } {
  let passed = 0;
  return {
    ...systemHost,
    monotonic: () => 1_000_000 + passed,
    pass(milliseconds) {
      passed += milliseconds;
    },
  };
}
