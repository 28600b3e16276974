import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { type DatagramSockets, DenoDatagramSockets } from "./datagram_sockets.ts";
import { BatchKernel } from "./udp_batch/batch_kernel.ts";
import { BatchDatagramSockets } from "./udp_batch/batch_sockets.ts";

const log = getLogger(["cairn", "relay"]);

/** `batch` is many times faster and needs Linux and FFI; `auto` takes it where it can be had. */
export const UDP_ENGINES = ["auto", "batch", "portable"] as const;
export type UdpEngine = typeof UDP_ENGINES[number];

/**
 * The UDP sockets of an engine. FFI is not needed any more afterwards.
 *
 * @throws {CairnError} `invalid-option` when `batch` cannot be had.
 */
export function openUdpEngine(engine: UdpEngine): DatagramSockets {
  if (engine === "portable") return new DenoDatagramSockets();
  try {
    return new BatchDatagramSockets(BatchKernel.load());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (engine === "batch") {
      throw new CairnError(
        "invalid-option",
        `The UDP engine "batch" cannot be used: ${reason}; --udp-engine (CAIRN_RELAY_UDP_ENGINE) ` +
          "auto falls back to the portable one",
      );
    }
    log.info("UDP goes by the portable engine, as the batching one cannot be used: {reason}", {
      reason,
    });
    return new DenoDatagramSockets();
  }
}
