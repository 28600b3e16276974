import { deserialize, serialize } from "node:v8";
import { Buffer } from "node:buffer";
import { getLogger } from "@logtape/logtape";
import { concatBytes } from "../base/bytes.ts";
import { keyBytes } from "./kv_key_bytes.ts";
import { isDamage } from "./store_damage.ts";
import type { ValueSeal } from "./value_seal.ts";

const log = getLogger(["cairn", "store"]);

/** Encodings of Deno KV, in front of what is sealed. */
const STRUCTURED = 1;
const BYTES = 3;
/** Records of this kind say what store this is, and must be read before there is a key. */
const CLEAR = "cairn";

/** Whether values of this key are sealed; the rest says what store it is. */
export function isSealed(key: Deno.KvKey): boolean {
  return key[0] !== CLEAR;
}

/** A value as it is stored in Deno KV, sealed: it is bytes then. */
export function sealStored(
  seal: ValueSeal,
  { key, value, encoding }: { key: Uint8Array; value: Uint8Array; encoding: number },
): Uint8Array {
  return seal.seal(key, concatBytes(Uint8Array.of(encoding), value));
}

/** `kv`, whose values only `seal` can read. Keys stay as they are: lists are by their order. */
export function sealedKv(kv: Deno.Kv, seal: ValueSeal): Deno.Kv {
  const sealed = (key: Deno.KvKey, value: unknown) =>
    isSealed(key) ? sealValue(seal, key, value) : value;
  const opened = <T>(entry: Deno.KvEntryMaybe<T>): Deno.KvEntryMaybe<T> => {
    return entry.versionstamp === null || !isSealed(entry.key)
      ? entry
      : { ...entry, value: openValue<T>(seal, entry.key, entry.value) };
  };
  const atomic = (): Deno.AtomicOperation => {
    const operation = kv.atomic();
    const proxy = new Proxy(operation, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name, target);
        if (typeof method !== "function") return method;
        return (...args: unknown[]) => {
          const [key, value, ...rest] = args;
          const given = name === "set" && isKey(key) ? [key, sealed(key, value), ...rest] : args;
          const result: unknown = Reflect.apply(method, target, given);
          return result === target ? proxy : result;
        };
      },
    });
    return proxy;
  };
  const changed: Pick<Deno.Kv, "get" | "set" | "list" | "atomic"> = {
    get: async (key, options) => opened(await kv.get(key, options)),
    set: (key, value, options) => kv.set(key, sealed(key, value), options),
    list: (selector, options) => openedList(seal, kv.list(selector, options)),
    atomic,
  };
  return new Proxy(kv, {
    get(target, name) {
      if (name === "get" || name === "set" || name === "list" || name === "atomic") {
        return changed[name];
      }
      // What else could read or write values is not used, and must not slip by.
      if (name === "getMany" || name === "watch" || name === "enqueue") return undefined;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The value of a listed entry, or `undefined` when it is damaged. */
export function soundValue<Value>(entry: Deno.KvEntry<Value>): Value | undefined {
  try {
    return entry.value;
  } catch (error) {
    if (!isDamage(error)) throw error;
    log.error("A record of the store cannot be read: {error}", { error });
    return undefined;
  }
}

/** A damaged value throws when it is read: the others of its list stay within reach. */
function openedList<T>(seal: ValueSeal, list: Deno.KvListIterator<T>): Deno.KvListIterator<T> {
  const opened = ({ key, value, versionstamp }: Deno.KvEntry<T>): Deno.KvEntry<T> => ({
    key,
    versionstamp,
    get value() {
      return isSealed(key) ? openValue<T>(seal, key, value) : value;
    },
  });
  return new Proxy(list, {
    get(target, name, receiver) {
      if (name === Symbol.asyncIterator) return () => receiver;
      if (name !== "next") return Reflect.get(target, name, target);
      return async () => {
        const result = await target.next();
        return result.done ? result : { done: false, value: opened(result.value) };
      };
    },
  });
}

function isKey(value: unknown): value is Deno.KvKey {
  return Array.isArray(value);
}

function sealValue(seal: ValueSeal, key: Deno.KvKey, value: unknown): Uint8Array {
  const stored = value instanceof Uint8Array
    ? { encoding: BYTES, value }
    : { encoding: STRUCTURED, value: serialize(value) };
  return sealStored(seal, { key: keyBytes(key), ...stored });
}

function openValue<T>(seal: ValueSeal, key: Deno.KvKey, value: unknown): T {
  if (!(value instanceof Uint8Array)) throw new TypeError("A record of the store is damaged");
  const plain = seal.open(keyBytes(key), value);
  // What was set under a key is what is got under it, as with Deno KV itself.
  return plain[0] === BYTES ? plain.subarray(1) as T : deserialize(Buffer.from(plain.subarray(1)));
}
