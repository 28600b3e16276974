/** Names the number of threads of relays in tests; without it they have one. */
export const TEST_RELAY_WORKERS_VARIABLE = "CAIRN_TEST_RELAY_WORKERS";

export const TEST_RELAY_WORKERS = Number(Deno.env.get(TEST_RELAY_WORKERS_VARIABLE) ?? 1);
