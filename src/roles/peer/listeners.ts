import { getLogger } from "@logtape/logtape";

const log = getLogger(["cairn", "peer"]);

/** What a message handler throws to leave the message, unacknowledged, for another program. */
export class NotTaken extends Error {
  override readonly name = "NotTaken";
}

/** Handlers by event name; a handler that fails is logged and hurts nobody else. */
export class Listeners<Events> {
  readonly #handlers = new Map<keyof Events, Set<(event: never) => void | Promise<void>>>();

  on<Name extends keyof Events>(
    name: Name,
    handler: (event: Events[Name]) => void | Promise<void>,
  ): () => void {
    let handlers = this.#handlers.get(name);
    if (!handlers) this.#handlers.set(name, handlers = new Set());
    handlers.add(handler);
    return () => void this.#handlers.get(name)?.delete(handler);
  }

  has(name: keyof Events): boolean {
    return (this.#handlers.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    void this.#call(name, event);
  }

  /** Awaits every handler; `done` runs only when none has failed. */
  async deliver<Name extends keyof Events>(
    name: Name,
    event: Events[Name],
    done: () => Promise<void>,
  ): Promise<void> {
    if (await this.#call(name, event)) await done();
  }

  /** Awaits every handler. @returns whether there is one, and none has failed. */
  async take<Name extends keyof Events>(name: Name, event: Events[Name]): Promise<boolean> {
    return this.has(name) && await this.#call(name, event);
  }

  async #call<Name extends keyof Events>(name: Name, event: Events[Name]): Promise<boolean> {
    let succeeded = true;
    for (const handler of [...this.#handlers.get(name) ?? []]) {
      try {
        await (handler as (event: Events[Name]) => void | Promise<void>)(event);
      } catch (error) {
        succeeded = false;
        if (error instanceof NotTaken) continue;
        log.error("A handler of the event {name} failed: {error}", { name: String(name), error });
      }
    }
    return succeeded;
  }
}
