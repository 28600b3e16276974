import { wrapStores } from "./store_calls.ts";

/**
 * Deno's store works on threads of its own, so that no number of turns of the event loop tells when
 * it has answered. From the import of this file on, its calls are counted.
 */
let underWay = 0;
let rested = Promise.withResolvers<void>();

/** Resolves when no call to a store is under way; at once, and with `false`, when none was. */
export async function untilStoreRests(): Promise<boolean> {
  if (underWay === 0) return false;
  while (underWay > 0) await rested.promise;
  return true;
}

async function counted(call: unknown): Promise<unknown> {
  underWay++;
  try {
    return await call;
  } finally {
    if (--underWay === 0) {
      rested.resolve();
      rested = Promise.withResolvers();
    }
  }
}

wrapStores(counted);
