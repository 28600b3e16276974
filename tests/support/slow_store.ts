/**
 * Makes every store late by up to `CAIRN_TEST_STORE_TURNS` turns of the event loop (200) a call, as
 * a busy machine does: `deno test -A --preload tests/support/slow_store.ts …` finds tests that only
 * pass when the store is quick.
 */
import { wrapStores } from "./store_calls.ts";

const LONGEST = Number(Deno.env.get("CAIRN_TEST_STORE_TURNS") ?? 200);

wrapStores(async (call) => {
  // It may fail before anybody waits for it.
  Promise.resolve(call).catch(() => {});
  const turns = Math.random() * LONGEST;
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  return await call;
});
