/** Questions to the person at the terminal. */

import { writeToStandardError } from "./standard_output.ts";

const MAX_ANSWER = 4_096;
const LINE_FEED = 10;

/** The line that is typed, without its end; `fallback` when it is empty, `undefined` at the end of input. */
export function ask(question: string, fallback: string): string | undefined {
  writeToStandardError(`${question} [${fallback}] `);
  const line: number[] = [];
  const byte = new Uint8Array(1);
  while (line.length < MAX_ANSWER) {
    if (Deno.stdin.readSync(byte) === null) return undefined;
    const [read = LINE_FEED] = byte;
    if (read === LINE_FEED) break;
    line.push(read);
  }
  return new TextDecoder().decode(Uint8Array.from(line)).trim() || fallback;
}
