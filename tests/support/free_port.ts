/** Below the range from which systems take ports for outgoing connections. */
const FIRST = 20_000;
const COUNT = 10_000;
/** So many at a time are of one test file, whatever other processes run tests beside it. */
const PART = 200;
/** So many even ports stand above all of them, and below that range. */
const EVEN_ABOVE = 1_300;
const LOOPBACK = "127.0.0.1";
/** Not in a test, which would have to give it back. */
const part = takePart();
const given = new Set<number>();

/** An even port from which on some are of no other test that does not ask here. */
export function ownPorts(): number {
  return FIRST + COUNT + 2 * Math.floor(Math.random() * EVEN_ABOVE);
}

/** A port on the loopback that nobody listens on now, another one each time. */
export function freePort(): number {
  for (;;) {
    if (given.size === PART - 1) given.clear();
    const port = part.first + 1 + Math.floor(Math.random() * (PART - 1));
    if (given.has(port)) continue;
    given.add(port);
    const listener = listenOn(port);
    if (listener === undefined) continue;
    listener.close();
    return port;
  }
}

/** A part is taken by whoever listens on its first port. */
function takePart(): { first: number; claim: Deno.Listener | undefined } {
  const parts = COUNT / PART;
  const start = Math.floor(Math.random() * parts);
  for (let tries = 0; tries < parts; tries++) {
    const first = FIRST + (start + tries) % parts * PART;
    const claim = listenOn(first);
    if (claim !== undefined) return { first, claim };
  }
  return { first: FIRST + start * PART, claim: undefined };
}

function listenOn(port: number): Deno.Listener | undefined {
  try {
    return Deno.listen({ hostname: LOOPBACK, port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}
