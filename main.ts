import { main } from "./src/cli/commands.ts";
import { isSignalThread } from "./src/roles/signal/thread_name.ts";

// A bundle is all that there is of the program, also for its threads.
if (isSignalThread()) await import("./src/roles/signal/signal_thread.ts");
else if (import.meta.main) Deno.exit(await main(Deno.args));
