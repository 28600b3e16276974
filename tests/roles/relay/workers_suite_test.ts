/* The tests of relays over sockets once more, with two threads that serve UDP. */

import { TEST_RELAY_WORKERS_VARIABLE } from "../../support/test_relay_workers.ts";

const before = Deno.env.get(TEST_RELAY_WORKERS_VARIABLE);
Deno.env.set(TEST_RELAY_WORKERS_VARIABLE, "2");
await import("./datagrams_test.ts");
await import("./operation_test.ts");
await import("./streams_test.ts");
if (before === undefined) Deno.env.delete(TEST_RELAY_WORKERS_VARIABLE);
else Deno.env.set(TEST_RELAY_WORKERS_VARIABLE, before);
