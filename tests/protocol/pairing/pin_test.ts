import { deepEqual, equal, notEqual, throws } from "node:assert/strict";
import { fromHex, utf8 } from "../../../src/base/bytes.ts";
import {
  formatPin,
  makePin,
  parsePin,
  pinCredential,
  pinCredentialId,
} from "../../../src/protocol/pairing/pin.ts";
import { pinTopic } from "../../../src/protocol/rendezvous/topics.ts";

Deno.test("makePin() writes forty bits as eight symbols, the highest first", () => {
  const pins = ["0000000000", "ffffffffff", "0123456789", "8000000000"].map((entropy) =>
    formatPin(makePin(fromHex(entropy)))
  );
  deepEqual(pins, ["0000-0000", "ZZZZ-ZZZZ", "04HM-ASW9", "G000-0000"]);
  throws(() => makePin(new Uint8Array(4)), RangeError);
});

Deno.test("parsePin() reads what people type", () => {
  const typed = ["98AF-XZ2P", "98afxz2p", " 98 AF-XZ 2P\n", "98aF xz2p", "98AF-UXZ2P"];
  deepEqual(typed.map(parsePin), typed.map(() => "98AFXZ2P"));
  equal(parsePin("ilLI-oOo0"), "11110000");
});

Deno.test("parsePin() takes nothing else", () => {
  const wrong = ["", "98AF-XZ2", "98AF-XZ2PP", "98AF-XZ2!", "98AF-XZ2ß", "98AF-XZ2é", "ABCD-EFU0"];
  deepEqual(wrong.map(parsePin), wrong.map(() => undefined));
});

Deno.test("A PIN's topic depends on its first three symbols only", () => {
  const [pin, other, another] = ["98AF-XZ2P", "98A0-0000", "98BF-XZ2P"].map((text) => {
    const parsed = parsePin(text);
    if (!parsed) throw new Error(text);
    return parsed;
  });
  deepEqual(pinCredentialId(pin!), utf8("98A"));
  equal(pinTopic(pinCredentialId(pin!)), pinTopic(pinCredentialId(other!)));
  notEqual(pinTopic(pinCredentialId(pin!)), pinTopic(pinCredentialId(another!)));
  deepEqual(pinCredential(pin!), utf8("98AFXZ2P"), "the whole of it goes into SPAKE2");
});
