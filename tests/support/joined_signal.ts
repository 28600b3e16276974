import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { type BusServers, parseBusServers } from "../../src/roles/signal/bus_access.ts";
import type { SignalLimits } from "../../src/roles/signal/signal_options.ts";
import type { NatsServer } from "./nats_server.ts";
import { untilHolds } from "./rested.ts";
import { startedSignal } from "./started_signal.ts";

/** What has metrics on a port of its own. */
interface Measured {
  readonly metricsPort: number;
}

/** Of a server whose metrics are looked at, and which ends at once. */
export const MEASURED = { metricsAddr: "127.0.0.1:0", drainTime: 0 };

/** A signaling server that has joined the bus. */
export async function joinedSignal(nats: NatsServer, limits: Partial<SignalLimits> = {}) {
  const signal = await startedSignal({ ...MEASURED, bus: accessTo(nats), limits });
  await untilMetric(signal, "bus_connected", 1);
  return signal;
}

/** `login` as it stands in a URL, with `@`. */
export function accessTo({ port }: { readonly port: number }, login = ""): BusServers {
  const servers = parseBusServers(`nats://${login}127.0.0.1:${port}`);
  assert.ok(servers);
  return servers;
}

export function relayOf(topic: string, text: string): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload: utf8(text) });
}

/** Status and word of `/readyz`. */
export async function readiness(port: number): Promise<[status: number, text: string]> {
  const response = await fetch(`http://127.0.0.1:${port}/readyz`);
  return [response.status, await response.text()];
}

/** `name` without what the names of all metrics begin with. */
export async function metricOf({ metricsPort }: Measured, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`cairn_signal_${name} `));
  assert.ok(line, `${name} in ${text}`);
  return Number(line.split(" ").at(-1));
}

export async function untilMetric(signal: Measured, name: string, value: number): Promise<void> {
  await untilHolds(
    async () => await metricOf(signal, name) === value,
    () => `${name} is ${value}`,
  );
}
