/** Looks for secrets in a data folder: in its files as they lie, and in what its store holds. */

import { concatBytes, readU32, toBase64, toBase64Url, toHex, utf8 } from "../../src/base/bytes.ts";

/** What to look for: text, or a key. */
export interface Secret {
  readonly name: string;
  /** At least 8 bytes or characters. */
  readonly value: string | Uint8Array;
}

/** Says which of the secrets occur in the files of a folder; also in those of a killed process. */
export async function searchFiles(folder: string, secrets: readonly Secret[]): Promise<string[]> {
  const search = new Search(secrets);
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile) search.look(await Deno.readFile(`${folder}/${name}`));
  }
  return search.findings;
}

/** Says which of the secrets occur in what a program said. */
export function searchText(text: string, secrets: readonly Secret[]): string[] {
  const search = new Search(secrets);
  search.look(utf8(text));
  return search.findings;
}

/** Says which of the secrets occur in what passed over a wire. */
export function searchBytes(bytes: Uint8Array, secrets: readonly Secret[]): string[] {
  const search = new Search(secrets);
  search.look(bytes);
  return search.findings;
}

/** Says which of the secrets occur in any key or value of the folder's store. */
export async function searchStore(folder: string, secrets: readonly Secret[]): Promise<string[]> {
  const search = new Search(secrets);
  using kv = await Deno.openKv(`${folder}/cairn.kv`);
  for await (const { key, value } of kv.list<unknown>({ prefix: [] })) {
    search.look(concatBytes(...leaves(key), ...leaves(value)));
  }
  return search.findings;
}

/** Finds many needles in one pass, by their first four bytes. */
class Search {
  readonly #found = new Set<string>();
  readonly #needles = new Map<number, { name: string; bytes: Uint8Array }[]>();

  constructor(secrets: readonly Secret[]) {
    for (const { name, value } of secrets) {
      for (const bytes of spellings(value)) {
        if (bytes.length < 8) throw new RangeError(`${name} is too short to look for`);
        const start = readU32(bytes, 0);
        this.#needles.set(start, [...this.#needles.get(start) ?? [], { name, bytes }]);
      }
    }
  }

  get findings(): string[] {
    return [...this.#found].sort();
  }

  look(haystack: Uint8Array): void {
    for (let offset = 0; offset + 8 <= haystack.length; offset++) {
      for (const { name, bytes } of this.#needles.get(readU32(haystack, offset)) ?? []) {
        if (bytes.every((byte, index) => haystack[offset + index] === byte)) this.#found.add(name);
      }
    }
  }
}

/** The ways in which a value may have been written down. */
function spellings(value: string | Uint8Array): Uint8Array[] {
  if (typeof value === "string") return [utf8(value), utf16(value)];
  const texts = [toHex(value), toHex(value).toUpperCase(), toBase64(value), toBase64Url(value)];
  return [value, utf8(value.join(",")), ...texts.flatMap((text) => [utf8(text), utf16(text)])];
}

/** As V8 stores text outside of Latin-1. */
function utf16(text: string): Uint8Array {
  return Uint8Array.from([...text].flatMap((character) => {
    const unit = character.charCodeAt(0);
    return [unit & 0xff, unit >>> 8];
  }));
}

/** Every piece of text and bytes in a key or value, however deep. */
function leaves(value: unknown): Uint8Array[] {
  if (value instanceof Uint8Array) return [value];
  if (value instanceof Map || value instanceof Set) return [...value].flatMap(leaves);
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([name, entry]) => [utf8(name), ...leaves(entry)]);
  }
  return [utf8(String(value))];
}
