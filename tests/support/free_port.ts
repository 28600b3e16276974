/** Below the range from which systems take ports for outgoing connections. */
const FIRST = 20_000;
const COUNT = 10_000;
/** So many even ports stand above those, and below that range. */
const EVEN_ABOVE = 1_300;
const given = new Set<number>();

/** An even port from which on some are of no other test that does not ask here. */
export function ownPorts(): number {
  return FIRST + COUNT + 2 * Math.floor(Math.random() * EVEN_ABOVE);
}

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
