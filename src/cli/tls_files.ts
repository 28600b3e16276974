/** A certificate and its key belong together. */

import { CairnError } from "../base/errors.ts";
import type { OptionRow, Settings } from "./settings.ts";

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/**
 * The certificate and key of a role, or `undefined` when neither is set.
 * @throws {CairnError} `invalid-option` when only one is.
 */
export function tlsFiles(
  settings: Settings,
  certificate: OptionRow<string>,
  key: OptionRow<string>,
): TlsFiles | undefined {
  const certPath = settings.value(certificate);
  const keyPath = settings.value(key);
  if (certPath === undefined && keyPath === undefined) return undefined;
  if (certPath !== undefined && keyPath !== undefined) return { certPath, keyPath };
  const [given, missing] = certPath === undefined ? [key, certificate] : [certificate, key];
  throw new CairnError(
    "invalid-option",
    `${settings.howToSet(given)} is set without ${settings.howToSet(missing)}; ` +
      "TLS needs both, plaintext neither",
  );
}
