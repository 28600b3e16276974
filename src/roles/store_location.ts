import { basename, dirname, resolve } from "node:path";
import { STORE_FILE } from "./store_record.ts";

/** Where the store of a server is kept: in a folder, or by a server that speaks KV Connect. */
export type StoreLocation =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "remote"; readonly url: string };

/**
 * Reads the path of a folder, or of the store's file in it, or a URL. A URL without TLS is only
 * right for this machine, as what the store holds would be read along the way. `undefined` when it
 * is none of these.
 */
export function parseStoreLocation(text: string): StoreLocation | undefined {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    if (text === "" || text.includes("\0")) return undefined;
    const path = resolve(text);
    return { kind: "folder", path: basename(path) === STORE_FILE ? dirname(path) : path };
  }
  const url = URL.parse(text);
  // Whatever is secret in a URL would be in messages and logs.
  if (url === null || `${url.username}${url.password}${url.search}${url.hash}` !== "") {
    return undefined;
  }
  const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLocal);
  return isSafe ? { kind: "remote", url: text } : undefined;
}
