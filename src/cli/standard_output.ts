/** Standard output carries results, and nothing else writes to it; standard error carries the rest. */

import { CairnError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";

/** Writes a line; resolves when the system has taken all of it. */
export async function printLine(line: string): Promise<void> {
  const bytes = utf8(`${line}\n`);
  try {
    for (let written = 0; written < bytes.length;) {
      written += await Deno.stdout.write(bytes.subarray(written));
    }
  } catch (cause) {
    throw new CairnError(
      "closed",
      "Cannot write to standard output: whoever read it is gone, or its disk is full",
      { cause },
    );
  }
}

/** Writes text to standard error, as far as anybody still reads it. */
export function writeToStandardError(text: string): void {
  const bytes = utf8(text);
  try {
    for (let written = 0; written < bytes.length;) {
      written += Deno.stderr.writeSync(bytes.subarray(written));
    }
  } catch {
    // The terminal is gone; the program must outlive its messages.
  }
}

/**
 * `text` with control characters as JSON escapes, so that what a remote peer wrote can neither
 * steer the terminal nor forge a line.
 */
export function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
