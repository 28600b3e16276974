import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { formatAddressPort } from "../../../src/base/address.ts";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import {
  AttributeType,
  decodeText,
  decodeXorAddress,
} from "../../../src/protocol/stun/attributes.ts";
import { longTermKey, userHash } from "../../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  type StunMessage,
} from "../../../src/protocol/stun/message.ts";
import { opaqueString } from "../../../src/protocol/turn/opaque_string.ts";
import vectors from "../../vectors/stun_messages.json" with { type: "json" };

interface Vector {
  readonly name: string;
  readonly hex: string;
  readonly algorithm?: "md5" | "sha-256";
  readonly password: string;
  readonly integrity: "sha1" | "sha256";
  readonly fingerprint: boolean;
  readonly username?: string;
  readonly userhash?: string;
  readonly realm?: string;
  readonly nonce?: string;
  readonly mapped?: string;
}

const messages = vectors.messages as readonly Vector[];

for (const vector of messages) {
  Deno.test(`2-ST-19 Vectors: ${vector.name} verifies, and not with a byte changed`, () => {
    const message = decode(vector);
    const integrity = { kind: vector.integrity, key: keyOf(vector) };
    strictEqual(message.integrityKind, vector.integrity);
    strictEqual(message.hasFingerprint, vector.fingerprint);
    ok(message.verify(integrity));
    ok(!message.verify({ ...integrity, key: utf8("another key") }));

    const changed = fromHex(vector.hex);
    changed[24]! ^= 1;
    const forged = decodeStunMessage(changed);
    ok(forged === undefined ? vector.fingerprint : !forged.verify(integrity));
  });

  Deno.test(`Vectors: ${vector.name} says what the RFC says`, () => {
    const message = decode(vector);
    strictEqual(text(message, AttributeType.Username), vector.username);
    strictEqual(text(message, AttributeType.Realm), vector.realm);
    strictEqual(text(message, AttributeType.Nonce), vector.nonce);
    const mapped = message.get(AttributeType.XorMappedAddress);
    const address = mapped && decodeXorAddress(mapped, message.transactionId);
    strictEqual(address && formatAddressPort(address), vector.mapped);
    const hash = message.get(AttributeType.UserHash);
    const expected = vector.userhash && toHex(userHash(vector.userhash, vector.realm ?? ""));
    strictEqual(hash && toHex(hash), expected);
  });
}

Deno.test("Vectors: a message is written as the RFC has it, byte for byte", () => {
  const vector = messages[3]!;
  const attributes: Attribute[] = [
    [AttributeType.Username, utf8(vector.username!)],
    [AttributeType.Nonce, utf8(vector.nonce!)],
    [AttributeType.Realm, utf8(vector.realm!)],
  ];
  const { method, messageClass, transactionId } = decode(vector);
  const integrity = { kind: vector.integrity, key: keyOf(vector) };
  const bytes = encodeStunMessage({
    method,
    messageClass,
    transactionId,
    attributes,
    integrity,
  });
  deepStrictEqual(toHex(bytes), vector.hex);
});

Deno.test("2-AU-57 Vectors: the MD5 key of user, realm and pass", () => {
  strictEqual(
    toHex(longTermKey("md5", "user", "realm", "pass")),
    "8493fbc53ba582fb4c044c456bdc40eb",
  );
});

Deno.test("2-AU-55 Vectors: OpaqueString makes the password of B.1", () => {
  strictEqual(opaqueString("The\u00ADM\u00AAtr\u2168"), "TheMatrIX");
});

function decode({ hex }: Vector): StunMessage {
  const message = decodeStunMessage(fromHex(hex));
  ok(message);
  return message;
}

function keyOf({ algorithm, username, userhash, realm, password }: Vector): Uint8Array {
  if (algorithm === undefined) return utf8(password);
  return longTermKey(algorithm, username ?? userhash ?? "", realm ?? "", password);
}

function text(message: StunMessage, type: number): string | undefined {
  const value = message.get(type);
  return value && decodeText(value);
}
