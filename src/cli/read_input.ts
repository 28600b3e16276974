/** Reads what a command is given in a file or on standard input. */

import { concatBytes } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";

/**
 * The bytes of the file at `path`, or of standard input for `-`, at most `limit` of them.
 * @throws {CairnError} `invalid-option`, or `too-large` with what `tooLong` says.
 */
export async function readInput(
  path: string,
  options: { readonly flag: string; readonly limit: number; readonly tooLong: string },
): Promise<Uint8Array> {
  if (path === "-") return await readAtMost("standard input", Deno.stdin.readable, options);
  try {
    using file = await Deno.open(path);
    return await readAtMost(`"${path}"`, file.readable, options);
  } catch (cause) {
    if (cause instanceof CairnError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CairnError(
      "invalid-option",
      `${options.flag}: cannot read "${path}": ${reason}`,
      { cause },
    );
  }
}

async function readAtMost(
  name: string,
  stream: ReadableStream<Uint8Array>,
  { limit, tooLong }: { readonly limit: number; readonly tooLong: string },
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of stream) {
    length += part.length;
    if (length > limit) {
      throw new CairnError("too-large", `${name} holds more than ${tooLong}`);
    }
    parts.push(part);
  }
  return concatBytes(...parts);
}
