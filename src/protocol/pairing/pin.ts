import { utf8 } from "../../base/bytes.ts";

/** Crockford's base 32: no I, L, O and U. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SYMBOLS = 8;
const GROUP = 4;
const BITS_PER_SYMBOL = 5n;
/** Symbols that the topic of a PIN, and so the signaling server's operator, gets to know. */
const PREFIX = 3;

/** Bytes of randomness in a PIN. */
export const PIN_ENTROPY = 5;

/** A PIN without its dash: eight symbols of the alphabet. */
export type Pin = string & { readonly brand: "pin" };

/** Makes a PIN of {@linkcode PIN_ENTROPY} random bytes, the most significant bits first. */
export function makePin(entropy: Uint8Array): Pin {
  if (entropy.length !== PIN_ENTROPY) throw new RangeError("Cannot make a PIN: 5 bytes are needed");
  const number = BigInt(`0x${entropy.toHex()}`);
  const symbols = Array.from({ length: SYMBOLS }, (_, index) => {
    const shift = BITS_PER_SYMBOL * BigInt(SYMBOLS - 1 - index);
    return ALPHABET[Number(number >> shift & 31n)];
  });
  return symbols.join("") as Pin;
}

/** As it is shown and typed: `XXXX-XXXX`. */
export function formatPin(pin: Pin): string {
  return `${pin.slice(0, GROUP)}-${pin.slice(GROUP)}`;
}

/**
 * Reads what a person typed: dashes, spaces and case do not matter, I and L count as 1, O as 0, and
 * a U is dropped. `undefined` when that leaves anything but eight symbols.
 */
export function parsePin(text: string): Pin | undefined {
  const symbols = text.replace(/[-\s]/g, "")
    .replace(/[a-z]/g, (letter) => letter.toUpperCase())
    .replace(/U/g, "").replace(/[IL]/g, "1").replace(/O/g, "0");
  const isPin = symbols.length === SYMBOLS && [...symbols].every((each) => ALPHABET.includes(each));
  return isPin ? symbols as Pin : undefined;
}

/** What both sides put into SPAKE2: the whole PIN. */
export function pinCredential(pin: Pin): Uint8Array {
  return utf8(pin);
}

/** Names a PIN among others without giving it away: its first three symbols. */
export function pinCredentialId(pin: Pin): Uint8Array {
  return utf8(pin.slice(0, PREFIX));
}
