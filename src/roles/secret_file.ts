/** Secrets that the program makes for itself, each in a file that only its user may read. */

import { toBase64Url, utf8 } from "../base/bytes.ts";
import type { Host } from "../base/host.ts";

const SECRET_BYTES = 32;

/** A secret in a file. */
export interface KeptSecret {
  readonly secret: string;
  /** Whether it was made by this call. */
  readonly created: boolean;
}

/**
 * The secret in the file at `path`, or 32 random bytes in base64url, which are durably there then,
 * readable by this user only.
 *
 * @throws whatever the system says when the file can be neither read nor made.
 */
export async function keepSecret(path: string, host: Host): Promise<KeptSecret> {
  const kept = await readSecret(path);
  if (kept !== undefined) return { secret: kept, created: false };
  const secret = toBase64Url(host.random(SECRET_BYTES));
  await writeSecret(path, `${secret}\n`);
  return { secret, created: true };
}

/** Makes a file, mode 0600, that must not be there yet, and waits until the disk has it. */
export async function writeSecret(path: string, text: string): Promise<void> {
  const file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
  try {
    const bytes = utf8(text);
    for (let written = 0; written < bytes.length;) {
      written += await file.write(bytes.subarray(written));
    }
    await file.sync();
  } finally {
    file.close();
  }
}

/** `undefined` when there is none, or one that a crash left empty. */
async function readSecret(path: string): Promise<string | undefined> {
  let text: string;
  try {
    text = (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (text !== "") return text;
  await Deno.remove(path);
  return undefined;
}
