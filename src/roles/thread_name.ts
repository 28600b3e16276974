/** By its name a thread knows what it is there for; a bundle is all that there is of the program. */
export const THREAD_NAMES = ["cairn signal", "cairn relay"] as const;
export type ThreadName = typeof THREAD_NAMES[number];

/** The name of this thread, unless it is a program of its own. */
export function threadName(): ThreadName | undefined {
  const name: unknown = Reflect.get(globalThis, "name");
  return THREAD_NAMES.find((known) => known === name);
}
