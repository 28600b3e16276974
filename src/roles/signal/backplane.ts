import type { DatedRecords } from "../../protocol/signal/record_store.ts";

/** What carries relays between the connections of this server and those of others. */
export interface Backplane {
  /** From now on somebody here listens to `topic`. */
  join(topic: string): void;
  /** Nobody here listens to `topic` any more. */
  leave(topic: string): void;
  /** Tells the others a relay of a client of this server; it does not come back. */
  publish(topic: string, frame: Uint8Array): void;
  /** What others keep of `topic`, where they can be asked. */
  ask?(topic: string): Promise<readonly DatedRecords[]>;
}

/** Does the same on each of `planes`, which lead to different servers. */
export function onAll(planes: readonly Backplane[]): Backplane | undefined {
  if (planes.length < 2) return planes[0];
  const asked = planes.find(({ ask }) => ask !== undefined);
  return {
    ...(asked && { ask: (topic: string) => asked.ask?.(topic) ?? Promise.resolve([]) }),
    join: (topic) => planes.forEach((plane) => plane.join(topic)),
    leave: (topic) => planes.forEach((plane) => plane.leave(topic)),
    publish: (topic, frame) => planes.forEach((plane) => plane.publish(topic, frame)),
  };
}
