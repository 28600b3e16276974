import { getLogger } from "@logtape/logtape";
import { systemHost } from "../../base/host.ts";
import { type DatagramSockets, DenoDatagramSockets } from "../relay/datagram_sockets.ts";
import { BatchKernel } from "../relay/udp_batch/batch_kernel.ts";
import { BatchDatagramSockets } from "../relay/udp_batch/batch_sockets.ts";
import { eventLoopTurn, type Rounds } from "../relay/udp_batch/rounds.ts";

const log = getLogger(["cairn", "path"]);

/**
 * Of so many nodes another thread may wait. Deno has 32 such threads, which files, names of hosts and
 * much else need too; without one left, all of that stops.
 */
const MOST_WAITING = 16;

/** Milliseconds of packets after which the QUIC endpoint, on this thread too, gets a turn. */
const TURN_MS = 1;

/**
 * Lets the nodes and servers that this thread starts from here on move many datagrams with one system
 * call, where this is Linux and FFI is permitted; nobody is asked for that. FFI is not needed any more
 * afterwards. Returns whether they do.
 */
export function loadPathBatches(): boolean {
  if (BatchKernel.loaded) return true;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return false;
  try {
    BatchKernel.load();
    return true;
  } catch (error) {
    log.debug("Paths move their datagrams one by one: {error}", { error });
    return false;
  }
}

/** Sockets in batches that are open. */
let waiting = 0;

/** The UDP sockets of paths: by batches where those were loaded, for the first 16 nodes; else Deno's. */
export function openPathSockets(): DatagramSockets {
  const kernel = BatchKernel.loaded;
  return kernel && waiting < MOST_WAITING
    ? new BatchDatagramSockets(kernel, besideQuic)
    : new DenoDatagramSockets();
}

/** While this thread waited for a packet, QUIC could not make any: another thread waits. */
async function besideQuic(rounds: Rounds): Promise<void> {
  let turn = systemHost.monotonic();
  waiting++;
  try {
    while (!rounds.isClosed) {
      if (!rounds.serve(0)) await rounds.whenReady();
      else if (systemHost.monotonic() - turn < TURN_MS) continue;
      else await eventLoopTurn();
      turn = systemHost.monotonic();
    }
  } finally {
    waiting--;
  }
}
