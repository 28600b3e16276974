/** coturn's test programs (Debian package coturn) beside a test. */

import assert from "node:assert/strict";
import { freePort } from "../support/free_port.ts";

const UCLIENT = "turnutils_uclient";
const PEER = "turnutils_peer";
const PROBE_EVERY_MS = 50;
const PEER_STARTS_WITHIN_MS = 90_000;

/** Whether the programs are installed. */
export const hasTurnutils = isInstalled(UCLIENT) && isInstalled(PEER);

/** What `turnutils_uclient` printed and how it ended. Its exit status alone hides lost packets. */
export interface UclientResult {
  readonly status: number;
  /** It had to be stopped. */
  readonly timedOut: boolean;
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  readonly output: string;
}

/** Runs `turnutils_uclient` against a server on the loopback, at most `withinMs`. */
export async function runUclient(
  args: readonly string[],
  withinMs: number,
): Promise<UclientResult> {
  const stop = AbortSignal.timeout(withinMs);
  const { code, stdout, stderr } = await new Deno.Command(UCLIENT, {
    args: [...args, "127.0.0.1"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: stop,
  }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return {
    status: code,
    timedOut: stop.aborted,
    sent: lastNumber(output, /tot_send_msgs=(\d+)/g),
    received: lastNumber(output, /tot_recv_msgs=(\d+)/g),
    lost: lastNumber(output, /Total lost packets (\d+)/g),
    output,
  };
}

/** Fails unless every message that the client sent came back. */
export function assertAllCameBack(result: UclientResult): void {
  const { status, sent, received, lost, output } = result;
  assert.equal(status, 0, output);
  assert.ok(sent > 0, output);
  assert.deepEqual({ received, lost }, { received: sent, lost: 0 }, output);
}

/** `turnutils_peer`: echoes every datagram, over IPv4 and IPv6. */
export class EchoPeer implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;

  private constructor(port: number) {
    this.port = port;
    this.#child = new Deno.Command(PEER, {
      args: ["-L", "127.0.0.1", "-L", "::1", "-p", `${port}`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  /** Starts it on a free port and waits until it answers. */
  static async start(): Promise<EchoPeer> {
    const peer = new EchoPeer(freePort());
    for (const hostname of ["127.0.0.1", "::1"]) await answers(hostname, peer.port);
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

/** Waits until what listens there sends a datagram back. */
async function answers(hostname: string, port: number): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const probe = () => socket.send(Uint8Array.of(0), { transport: "udp", hostname, port });
  const timer = setInterval(probe, PROBE_EVERY_MS);
  const late = setTimeout(() => socket.close(), PEER_STARTS_WITHIN_MS);
  try {
    await probe();
    await socket.receive();
    socket.close();
  } finally {
    clearInterval(timer);
    clearTimeout(late);
  }
}

function lastNumber(text: string, pattern: RegExp): number {
  return Number([...text.matchAll(pattern)].at(-1)?.[1] ?? NaN);
}

function isInstalled(program: string): boolean {
  try {
    new Deno.Command(program, { args: ["-h"], stdout: "null", stderr: "null" }).outputSync();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
