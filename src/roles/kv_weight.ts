/** How much a change weighs towards the limits of Deno KV. */

/** What Deno KV takes in one commit, as its own error messages state it. */
export const KV_LIMITS = {
  mutations: 1000,
  checks: 100,
  /** Keys and values together, where each key counts twice. */
  bytes: 819_200,
  keyBytes: 81_920,
  valueBytes: 65_536,
} as const;

/** What of an operation has a weight. A condition has no value. */
export interface Weighable {
  readonly type: "set" | "delete" | "check" | "update";
  readonly key: Deno.KvKey;
  readonly value?: unknown;
}

export interface Weight {
  mutations: number;
  checks: number;
  keyBytes: number;
  bytes: number;
}

export function weigh(operations: readonly Weighable[]): Weight {
  const weight: Weight = { mutations: 0, checks: 0, keyBytes: 0, bytes: 0 };
  for (const operation of operations) {
    const keyBytes = keySize(operation.key);
    weight.keyBytes += keyBytes;
    weight.bytes += 2 * keyBytes + valueBytesOf(operation);
    if (operation.type === "check") weight.checks++;
    else weight.mutations++;
  }
  return weight;
}

/** What two groups of changes weigh together. */
export function sumOf(a: Weight, b: Weight): Weight {
  return {
    mutations: a.mutations + b.mutations,
    checks: a.checks + b.checks,
    keyBytes: a.keyBytes + b.keyBytes,
    bytes: a.bytes + b.bytes,
  };
}

/** What one change weighs in bytes. */
export function bytesOf(operation: Weighable): number {
  return 2 * keySize(operation.key) + valueBytesOf(operation);
}

function valueBytesOf({ type, value }: Weighable): number {
  if (type !== "set" && type !== "update") return 0;
  return value instanceof Uint8Array ? value.length : 16 + valueSizeBound(value);
}

export function excessOf(weight: Weight): string | undefined {
  if (weight.mutations > KV_LIMITS.mutations) return `more than ${KV_LIMITS.mutations} changes`;
  if (weight.checks > KV_LIMITS.checks) return `more than ${KV_LIMITS.checks} checks`;
  if (weight.keyBytes > KV_LIMITS.keyBytes) return `keys of more than ${KV_LIMITS.keyBytes} bytes`;
  if (weight.bytes > KV_LIMITS.bytes) return `more than ${KV_LIMITS.bytes} bytes`;
  return undefined;
}

/** Size of a key in FoundationDB's tuple encoding, which Deno KV uses. */
export function keySize(key: Deno.KvKey): number {
  let size = 0;
  for (const part of key) {
    if (part instanceof Uint8Array) {
      size += 2 + part.length;
      // A zero is escaped by one more byte. By index, which takes a third of the time.
      for (let i = 0; i < part.length; i++) if (part[i] === 0) size++;
    } else if (typeof part === "string") size += 2 + 3 * part.length;
    else size += 9;
  }
  return size;
}

/** At least as much as V8's structured serialization takes. */
function valueSizeBound(value: unknown): number {
  if (value instanceof Uint8Array) return value.length + 24;
  if (typeof value === "string") return 2 * value.length + 8;
  if (Array.isArray(value)) {
    return value.reduce<number>((sum, item) => sum + valueSizeBound(item), 16);
  }
  if (typeof value === "object" && value !== null) {
    let sum = 8;
    for (const [name, field] of Object.entries(value)) {
      sum += 2 * name.length + 8 + valueSizeBound(field);
    }
    return sum;
  }
  if (typeof value === "bigint") return 8 + value.toString(16).length;
  return 10;
}
