import { parseIp } from "../../src/base/address.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { AttackedRelay } from "./attacked_relay.ts";
import { Refused, WireClient } from "./wire_client.ts";

const LOOPBACK = parseIp("127.0.0.1")!;
const TRANSPORTS = ["udp", "udp", "tcp", "tls"] as const;
const AT_ONCE = 8;
/** Of so many UDP clients one goes without a word, and its allocation runs into its time. */
const VANISHES = 50;

/** Lets `count` clients come, relay something and go, some at a time. */
export async function churn(relay: AttackedRelay, count: number, caCert: string): Promise<void> {
  let begun = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (begun < count) await visit(relay, begun++, caCert);
  }));
}

async function visit(relay: AttackedRelay, number: number, caCert: string): Promise<void> {
  const transport = TRANSPORTS[number % TRANSPORTS.length]!;
  const port = transport === "tls" ? relay.tlsPort : relay.port;
  await using client = await WireClient.open({ transport, port, caCert });
  try {
    await client.allocate();
  } catch (error) {
    // The system gave the port of one that went without a word, whose allocation is still there.
    if (error instanceof Refused && error.code === 437) return;
    throw error;
  }
  await client.permit(LOOPBACK);
  const channel = await client.bind({ address: LOOPBACK, port: relay.echoPort });
  for (let i = 0; i < 3; i++) {
    await client.send(channel, utf8(`datagram ${i} of ${number}`));
    await client.received();
  }
  // A connection that ends takes its allocation along.
  const isLeft = transport !== "udp" ? number % 3 === 0 : number % VANISHES === 0;
  if (!isLeft) await client.release();
}
