// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * How fast a folder goes from one device to another that are both there, over a server on this
 * machine: `deno run -A bench/folder_sync.ts [megabytes] [rounds]`.
 */

import { proveFolder } from "../tests/support/folder_proof.ts";

const megabytes = Number(Deno.args[0] ?? 200);
const rounds = Number(Deno.args[1] ?? 3);
for (let round = 1; round <= rounds; round++) {
  const { seconds, files, peaks } = await proveFolder({
    megabytes,
    disturb: false,
    waitMs: 120_000 + megabytes * 2_000,
  });
  const memory = [...peaks].map(([name, bytes]) => `${name} ${Math.round(bytes / 2 ** 20)} MiB`);
  const speed = (megabytes / seconds).toFixed(1);
  console.log(
    `${round}: ${files} files, ${seconds.toFixed(1)} s, ${speed} MB/s, ${memory.join(", ")}`,
  );
}
