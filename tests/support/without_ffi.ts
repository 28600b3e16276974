/** `cairn` in a process that may not use FFI. */

import { main } from "../../src/cli/commands.ts";

Deno.permissions.revokeSync({ name: "ffi" });
Deno.exit(await main(Deno.args));
