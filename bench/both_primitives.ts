import { installPrimitives } from "../src/protocol/crypto/primitives.ts";
import { nativePrimitives } from "../src/roles/native_primitives.ts";

const BOTH = [["portable", undefined], ["native", nativePrimitives]] as const;

/**
 * Measures `run` with the portable primitives, as in a browser, and with the native ones, as in the
 * roles. Each bench installs its own every time: all run one after another in one process.
 */
export function benchBoth(
  group: string,
  name: string,
  run: () => unknown,
  options: { readonly baseline?: boolean } = {},
): void {
  for (const [kind, primitives] of BOTH) {
    const baseline = options.baseline === true && primitives === undefined;
    Deno.bench(`${name}, ${kind}`, { group, baseline }, () => {
      installPrimitives(primitives);
      run();
    });
  }
}
