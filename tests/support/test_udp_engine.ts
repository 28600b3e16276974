import { openUdpEngine, UDP_ENGINES } from "../../src/roles/relay/udp_engine.ts";

/** Names the engine of relays in tests; without it they take what there is. */
export const TEST_UDP_ENGINE_VARIABLE = "CAIRN_TEST_UDP_ENGINE";

/** Which engine moves the packets of relays in tests. */
export const TEST_UDP_ENGINE =
  UDP_ENGINES.find((engine) => engine === Deno.env.get(TEST_UDP_ENGINE_VARIABLE)) ?? "auto";

// What a first relay would load would seem to be left behind by its test.
await openUdpEngine(TEST_UDP_ENGINE)[Symbol.asyncDispose]();
