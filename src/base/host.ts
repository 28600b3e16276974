/** The one place that reads the clocks and the random source; everything else is given a Host. */

/** Time and chance, as arguments. */
export interface Host {
  /** Wall clock, milliseconds since the Unix epoch. It may jump. */
  now(): number;
  /** Monotonic clock, milliseconds since an arbitrary start. It never goes back. */
  monotonic(): number;
  /** `length` bytes from a cryptographically secure source. */
  random(length: number): Uint8Array<ArrayBuffer>;
}

/** What the monotonic clock of this thread counts from, for {@linkcode hostInStep} of another. */
export function monotonicOrigin(): number {
  return performance.timeOrigin;
}

/** {@linkcode systemHost} with the monotonic clock of the thread that counts from `origin`. */
export function hostInStep(origin: number): Host {
  const ahead = performance.timeOrigin - origin;
  return { ...systemHost, monotonic: () => performance.now() + ahead };
}

/** The real clocks and the system's random source. */
export const systemHost: Host = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random(length) {
    const bytes = new Uint8Array(length);
    // getRandomValues refuses more than 65,536 bytes a call (Web Cryptography, section 10.1.1).
    for (let offset = 0; offset < length; offset += 65_536) {
      crypto.getRandomValues(bytes.subarray(offset, offset + 65_536));
    }
    return bytes;
  },
};
