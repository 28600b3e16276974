import { main } from "./src/cli/commands.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
