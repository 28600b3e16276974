/** Names the number of workers of relays in tests; without it one thread does everything. */
export const TEST_RELAY_WORKERS_VARIABLE = "CAIRN_TEST_RELAY_WORKERS";

export const TEST_RELAY_WORKERS = Number(Deno.env.get(TEST_RELAY_WORKERS_VARIABLE) ?? 0);
