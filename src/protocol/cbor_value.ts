/**
 * What the protocol says in CBOR (RFC 8949): integers within ±(2^53 − 1), text, byte strings,
 * booleans, null, arrays, and maps whose keys are integers or text.
 */
export type CborValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | CborValue[]
  | Map<number | string, CborValue>;
