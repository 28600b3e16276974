import { ok } from "node:assert/strict";
import { bytesPerPacket, packetPaths } from "../../../bench/support/packet_paths.ts";

for (const path of packetPaths(160)) {
  Deno.test(`Packet path: nothing is left for the collector by ${path.name}`, () => {
    const bytes = bytesPerPacket(path, 9);
    // The smallest object has 16; what remains is the measurement's own.
    ok(bytes < 4, `${bytes} bytes a packet`);
  });
}
