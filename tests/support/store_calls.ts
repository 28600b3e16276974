/** Puts `around` around what these methods return. */
function wrapMethods(
  prototype: object,
  names: readonly string[],
  around: (call: unknown) => unknown,
): void {
  for (const name of names) {
    const method: unknown = Reflect.get(prototype, name);
    if (typeof method !== "function") throw new TypeError(`No method ${name}`);
    Reflect.set(prototype, name, function (this: unknown, ...parts: unknown[]): unknown {
      return around(Reflect.apply(method, this, parts));
    });
  }
}

/** Puts `around` around every answer of every store. */
export function wrapStores(around: (call: unknown) => unknown): void {
  wrapMethods(Deno.Kv.prototype, ["get", "getMany", "set", "delete"], around);
  wrapMethods(Deno.AtomicOperation.prototype, ["commit"], around);
  wrapMethods(Deno.KvListIterator.prototype, ["next"], around);
}
