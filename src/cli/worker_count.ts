import { count, type ValueKind } from "./option_values.ts";

/** Far beyond the machines that this was tried on. */
export const MOST_WORKERS = 64;
/** Threads that nobody asked for: each takes some 60 MB of memory and half a second at the start. */
export const MOST_WORKERS_UNASKED = 8;
/** Threads of a role. */
export const workers: ValueKind<number> = {
  placeholder: "<number>",
  expected: `a whole number from 1 to ${MOST_WORKERS}`,
  parse(text) {
    const threads = count.parse(text);
    return threads !== undefined && threads <= MOST_WORKERS ? threads : undefined;
  },
};
