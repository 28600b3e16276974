import { AsyncLocalStorage } from "node:async_hooks";
import type { HandlerScope } from "./dispatcher.ts";

/** Follows a handler through everything that it waits for. */
export class AsyncHandlerScope implements HandlerScope {
  readonly #handling = new AsyncLocalStorage<true>();

  get isInside(): boolean {
    return this.#handling.getStore() === true;
  }

  run(work: () => Promise<void>): Promise<void> {
    return this.#handling.run(true, work);
  }
}
