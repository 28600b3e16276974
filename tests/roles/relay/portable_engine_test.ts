/* The tests of relays over sockets once more, on the UDP sockets that every system has. */

import { TEST_UDP_ENGINE_VARIABLE } from "../../support/test_udp_engine.ts";

const before = Deno.env.get(TEST_UDP_ENGINE_VARIABLE);
Deno.env.set(TEST_UDP_ENGINE_VARIABLE, "portable");
await import("./datagrams_test.ts");
await import("./operation_test.ts");
if (before === undefined) Deno.env.delete(TEST_UDP_ENGINE_VARIABLE);
else Deno.env.set(TEST_UDP_ENGINE_VARIABLE, before);
