import { fromUtf8, utf8 } from "../../base/bytes.ts";

/** Splits a stream into lines of bounded length. */
export class LineReader {
  readonly #connection: Deno.UnixConn;
  readonly #maxLength: number;
  #rest = new Uint8Array(0);

  constructor(connection: Deno.UnixConn, maxLength: number) {
    this.#connection = connection;
    this.#maxLength = maxLength;
  }

  async next(): Promise<string | undefined> {
    const parts: Uint8Array[] = [this.#rest];
    let length = this.#rest.length;
    let end = this.#rest.indexOf(10);
    while (end < 0) {
      const chunk = new Uint8Array(65_536);
      const read = await this.#connection.read(chunk);
      if (read === null) return undefined;
      const found = chunk.subarray(0, read).indexOf(10);
      if (found >= 0) end = length + found;
      parts.push(chunk.subarray(0, read));
      length += read;
      if (length > this.#maxLength) throw new RangeError("A handed-over line is too long");
    }
    const joined = new Uint8Array(length);
    let offset = 0;
    for (const part of parts) {
      joined.set(part, offset);
      offset += part.length;
    }
    this.#rest = joined.slice(end + 1);
    return fromUtf8(joined.subarray(0, end));
  }
}

/** Writes one value as a line of JSON. */
export async function writeLine(connection: Deno.UnixConn, value: unknown): Promise<void> {
  const bytes = utf8(`${JSON.stringify(value)}\n`);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
}
