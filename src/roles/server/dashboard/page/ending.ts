/** What ends by itself, with when, in seconds of {@linkcode clock}. */
export type Ending<Item> = Item & { readonly until: number };

/** Seconds since an arbitrary moment; it never jumps. */
export function clock(): number {
  return performance.now() / 1000;
}

/** With the moment at which it expires. */
export function ending<Item extends { readonly expires_in_secs: number }>(
  item: Item,
): Ending<Item> {
  return { ...item, until: clock() + item.expires_in_secs };
}
