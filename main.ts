import { main } from "./src/cli/commands.ts";
import { threadName } from "./src/roles/thread_name.ts";

// A bundle is all that there is of the program, also for its threads.
switch (threadName()) {
  case "cairn signal":
    await import("./src/roles/signal/signal_thread.ts");
    break;
  case "cairn relay":
    await import("./src/roles/relay/workers/relay_thread.ts");
    break;
  default:
    if (import.meta.main) Deno.exit(await main(Deno.args));
}
