/** By this name a thread knows what it is there for. */
export const THREAD_NAME = "cairn signal";

/** Whether this is a thread of a signaling server, and not a program of its own. */
export function isSignalThread(): boolean {
  return Reflect.get(globalThis, "name") === THREAD_NAME;
}
