/** One of `places`, a power of 2, by FNV-1a that begins with `seed`. */
export function placeOf(text: string, places: number, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ hash >>> 15) & (places - 1);
}
