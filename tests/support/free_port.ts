/** Below the range from which systems take ports for outgoing connections. */
const FIRST = 20_000;
const COUNT = 10_000;
const given = new Set<number>();

/** A port on the loopback that nobody listens on now, another one each time. */
export function freePort(): number {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (given.has(port)) continue;
    try {
      using _listener = Deno.listen({ hostname: "127.0.0.1", port });
      given.add(port);
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}
