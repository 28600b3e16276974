/**
 * Stands in front of a server, as a program of its own, and writes down what passes either way. What
 * is UDP comes late or not at all if it is told so.
 */

import { parseAddressPort } from "../../src/base/address.ts";
import { Endpoint } from "../../src/base/endpoint.ts";

/** What to do, as JSON in the only argument. */
export interface TapOrders {
  readonly transport: "udp" | "tcp";
  /** `ip:port`, as the next one. */
  readonly listen: string;
  readonly server: string;
  /** Where to write it; nowhere if there is none. */
  readonly file?: string;
  /** Milliseconds that a datagram takes. */
  readonly delay?: number;
  /** Of so many datagrams out of 1,000 nothing is heard again. */
  readonly lost?: number;
}

const MAX_CLIENTS = 64;

if (import.meta.main) {
  const orders: TapOrders = JSON.parse(Deno.args[0] ?? "");
  const done = orders.transport === "udp" ? tapDatagrams(orders) : tapConnections(orders);
  // deno-lint-ignore no-console
  console.log("taps");
  await done;
}

async function tapDatagrams({ listen, server, file, delay = 0, lost = 0 }: TapOrders) {
  const [here, there] = [address(listen), address(server)];
  const front = Deno.listenDatagram({ ...here, transport: "udp" });
  const clients = new Map<string, Deno.DatagramConn>();
  const pass = (bytes: Uint8Array, to: Deno.Addr, socket: Deno.DatagramConn) => {
    write(file, bytes);
    if (Math.random() * 1_000 < lost) return;
    setTimeout(() => socket.send(bytes, to).catch(() => {}), delay);
  };
  const answer = async (back: Deno.DatagramConn, client: Deno.Addr) => {
    for await (const [bytes] of back) pass(bytes, client, front);
  };
  for await (const [bytes, from] of front) {
    if (from.transport !== "udp") continue;
    const key = `${from.hostname} ${from.port}`;
    const known = clients.get(key);
    if (!known && clients.size >= MAX_CLIENTS) continue;
    const back = known ?? Deno.listenDatagram({ ...here, transport: "udp", port: 0 });
    clients.set(key, back);
    if (!known) void answer(back, from);
    pass(bytes, there, back);
  }
}

async function tapConnections({ listen, server, file }: TapOrders) {
  const tap = () =>
    new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        write(file, bytes);
        controller.enqueue(bytes);
      },
    });
  for await (const client of Deno.listen({ ...address(listen), transport: "tcp" })) {
    const connection = await Deno.connect({ ...address(server), transport: "tcp" });
    void client.readable.pipeThrough(tap()).pipeTo(connection.writable).catch(() => {});
    void connection.readable.pipeThrough(tap()).pipeTo(client.writable).catch(() => {});
  }
}

function write(file: string | undefined, bytes: Uint8Array): void {
  if (file !== undefined) Deno.writeFileSync(file, bytes, { append: true });
}

function address(text: string): Deno.NetAddr {
  const parsed = parseAddressPort(text);
  if (!parsed) throw new TypeError(`No address: ${text}`);
  return new Endpoint(parsed.address, parsed.port);
}
