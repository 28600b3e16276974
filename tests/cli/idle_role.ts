/**
 * A role that does nothing, for tests of how processes end: `idle_role.ts [hang|reject|throw]`, or
 * `idle_role.ts late`, which has started when SIGHUP came, and ends when it is told to reload.
 */

import { getLogger } from "@logtape/logtape";
import { parseLogFilter } from "../../src/base/log_filter.ts";
import { startLogging } from "../../src/cli/logging.ts";
import { giveUp, ProcessLife } from "../../src/cli/process_life.ts";
import { printLine } from "../../src/cli/standard_output.ts";

const [manner] = Deno.args;
startLogging(parseLogFilter(Deno.env.get("RUST_LOG") ?? "info") ?? [], "json");
const life = new ProcessLife();
giveUp("run", "ffi");
getLogger(["cairn", "signal"]).debug("A detail of {count} bytes", { count: 3 });
getLogger(["cairn", "relay"]).info("Line one\nline two");

const status = await life.run(async () => {
  const hungUp = Promise.withResolvers<void>();
  const reloaded = Promise.withResolvers<void>();
  if (manner === "late") Deno.addSignalListener("SIGHUP", hungUp.resolve);
  await printLine(`ready run=${Deno.permissions.querySync({ name: "run" }).state}`);
  const alive = setInterval(() => {}, 60_000);
  if (manner === "reject") void Promise.reject(new Error("nobody caught this"));
  if (manner === "throw") setTimeout(() => raise(new Error("nobody caught this")));
  if (manner === "late") await hungUp.promise;
  return {
    ...(manner === "late" && {
      reload: () => void printLine("reloaded").then(reloaded.resolve),
      closed: reloaded.promise,
    }),
    async close() {
      await printLine("closing");
      if (manner === "hang") await new Promise(() => {});
      clearInterval(alive);
    },
  };
});
await printLine("closed");
Deno.exit(status);

function raise(error: Error): never {
  throw error;
}
