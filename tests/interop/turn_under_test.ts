import assert from "node:assert/strict";
import { startedRelay } from "../support/started_relay.ts";
import { makeSelfSigned } from "../support/self_signed.ts";

/** The relay that foreign clients are let loose on, over UDP, TCP and TLS. */
export interface StartedTurn extends AsyncDisposable {
  /** Of UDP and TCP. */
  readonly port: number;
  readonly tlsPort: number;
  /** The certificate of TLS. */
  readonly certPath: string;
  /** What it counts, as Prometheus reads it. */
  metrics(): Promise<string>;
}

/** Our relay on the loopback, which may also be relayed to, for the user `user` with `pass`. */
export async function startTurn(): Promise<StartedTurn> {
  await using stack = new AsyncDisposableStack();
  const certificate = stack.use(await makeSelfSigned());
  const relay = stack.use(
    // Debian's turnutils_uclient numbers its channels as RFC 5766 did.
    await startedRelay({ tls: certificate, legacyChannels: true, userQuota: 1_000 }),
  );
  assert.ok(relay.tlsPort !== undefined);
  const { port, tlsPort, metrics } = relay;
  const running = stack.move();
  return {
    port,
    tlsPort,
    certPath: certificate.certPath,
    metrics,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
