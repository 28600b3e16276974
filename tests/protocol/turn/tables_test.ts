/** The tables under the machine, each beside a simpler twin. */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { type AddressWords, Endpoint } from "../../../src/base/endpoint.ts";
import { AddressTable } from "../../../src/protocol/turn/address_table.ts";
import { Deadlines, type Timed } from "../../../src/protocol/turn/deadlines.ts";
import { PortPool } from "../../../src/protocol/turn/port_pool.ts";
import { RelayPort } from "../../../src/protocol/turn/relay_port.ts";
import { TestHost } from "../../roles/server/mailbox_scene.ts";

/** Few addresses, so that they meet. */
const endpoint = fc.tuple(
  fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 }),
  fc.integer({ min: 1, max: 3 }),
).map(([address, port]) => new Endpoint(address, port));

Deno.test("AddressTable finds what a map with keys of text finds", () => {
  for (const by of ["address", "address and port"] as const) {
    const keyOf = ({ hostname, port }: Endpoint) =>
      by === "address" ? hostname : `${hostname} ${port}`;
    fc.assert(fc.property(fc.array(fc.tuple(endpoint, fc.boolean())), (steps) => {
      const table = new AddressTable<{ endpoint: Endpoint }>(by);
      const twin = new Map<string, { endpoint: Endpoint }>();
      for (const [address, isAdded] of steps) {
        if (isAdded) {
          const entry = { endpoint: address };
          table.set(entry);
          twin.set(keyOf(address), entry);
        } else {
          table.retain((entry) => keyOf(entry.endpoint) !== keyOf(address));
          twin.delete(keyOf(address));
        }
        strictEqual(table.size, twin.size);
        for (const [other] of steps) strictEqual(table.find(other), twin.get(keyOf(other)));
      }
      deepStrictEqual(new Set(table.entries()), new Set(twin.values()));
    }));
  }
});

Deno.test("AddressTable spreads the addresses of one network and the ports of one host", () => {
  const table = new AddressTable<{ endpoint: AddressWords }>("address and port");
  let looks = 0;
  const endpointOf = (n: number) =>
    new Endpoint(Uint8Array.of(10, 0, n >> 8 & 7, n & 255), 1_024 + n);
  for (let n = 0; n < 20_000; n++) {
    const { w0, w1, w2, w3, port } = endpointOf(n);
    table.set({
      endpoint: {
        get w3() {
          looks++;
          return w3;
        },
        w0,
        w1,
        w2,
        port,
      },
    });
  }
  looks = 0;
  for (let n = 0; n < 20_000; n++) ok(table.find(endpointOf(n)));
  ok(looks < 3 * 20_000, `${looks} entries looked at`);
});

Deno.test("RelayPort remembers so many peers that it has met, and all that have a channel", () => {
  const port = new RelayPort(4, new Endpoint(Uint8Array.of(11, 22, 33, 44), 50_000));
  const peer = (n: number) => new Endpoint(Uint8Array.of(8, 8, 8, 8), n + 1);
  const permission = port.permit(peer(0), 0);
  const bound = port.remember(peer(0), permission, false);
  bound.channel = { number: 0x4000, peer: bound, port, expiresAt: 1 };
  for (let n = 1; n < 5_000; n++) port.remember(peer(n), permission, false);
  const known = Array.from({ length: 5_000 }, (_, n) => port.peer(peer(n)))
    .filter((met) => met !== undefined);
  ok(known.length <= 257, `${known.length} peers`);
  strictEqual(known[0], bound);
});

Deno.test("Deadlines hands out what is due in order, whatever was moved or taken out", () => {
  const step = fc.tuple(
    // Long queues: where they are short, an item that was moved wrongly is in its place by chance.
    fc.constantFrom("schedule", "schedule", "schedule", "cancel", "cancel", "pass" as const),
    fc.integer({ min: 0, max: 15 }),
    fc.integer({ min: 0, max: 100 }),
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 60, maxLength: 120 }), (steps) => {
      const items: Timed[] = Array.from({ length: 16 }, () => ({ expiresAt: Infinity, place: -1 }));
      const deadlines = new Deadlines<Timed>();
      const waiting = new Set<Timed>();
      let now = 0;
      for (const [kind, index, time] of steps) {
        const item = items[index]!;
        if (kind === "schedule") {
          deadlines.schedule(item, now + time);
          waiting.add(item);
        } else if (kind === "cancel") {
          deadlines.cancel(item);
          waiting.delete(item);
        } else {
          now += time;
          let last = -Infinity;
          for (let due = deadlines.takeDue(now); due !== undefined; due = deadlines.takeDue(now)) {
            ok(due.expiresAt >= last && due.expiresAt <= now && waiting.delete(due));
            last = due.expiresAt;
          }
        }
        strictEqual(deadlines.size, waiting.size);
        strictEqual(deadlines.next(), Math.min(...[...waiting].map((other) => other.expiresAt)));
      }
      const rest = Array.from(waiting, () => deadlines.takeDue(Infinity)?.expiresAt ?? NaN);
      deepStrictEqual(rest, rest.toSorted((a, b) => a - b));
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("PortPool gives each port once until it comes back", () => {
  const host = new TestHost(7);
  const pool = new PortPool({ min: 49_999, max: 50_010 }, (length) => host.random(length));
  const taken = new Set<number>();
  for (let port = pool.take("pair"); port !== undefined; port = pool.take("pair")) {
    ok(port % 2 === 0 && !taken.has(port) && !taken.has(port + 1));
    taken.add(port).add(port + 1);
  }
  deepStrictEqual([taken.size, pool.freeCount], [10, 2]);
  strictEqual(pool.take("even"), 50_010);
  strictEqual(pool.take("even"), undefined);
  strictEqual(pool.take("any"), 49_999);
  strictEqual(pool.take("any"), undefined);
  for (const port of [50_003, 50_003, 1, 60_000]) pool.release(port);
  strictEqual(pool.freeCount, 1);
  strictEqual(pool.take("any"), 50_003);
});

Deno.test("PortPool takes the whole range of ports, and nothing that is none", () => {
  const host = new TestHost(7);
  const random = (length: number) => host.random(length);
  strictEqual(new PortPool({ min: 1, max: 65_535 }, random).freeCount, 65_535);
  for (const [min, max] of [[0, 10], [10, 9], [1, 65_536], [NaN, 10]] as const) {
    throws(() => new PortPool({ min, max }, random), RangeError);
  }
});
