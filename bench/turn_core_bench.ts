// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.

/**
 * What a relayed packet costs in the TURN machine, sockets left out: time, and bytes that the
 * collector has to take away. Run it with `deno bench -A bench/turn_core_bench.ts`.
 */

import { bytesPerPacket, packetPaths } from "./support/packet_paths.ts";

const SIZE = 1_200;

for (const path of packetPaths(SIZE)) {
  console.log(`${bytesPerPacket(path).toFixed(2).padStart(8)} bytes left behind: ${path.name}`);
}

for (const path of packetPaths(SIZE)) {
  Deno.bench(path.name, () => {
    path.walk();
  });
}
