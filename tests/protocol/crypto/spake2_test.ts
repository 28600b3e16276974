import { deepEqual, equal, notDeepEqual, throws } from "node:assert/strict";
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { concatBytes, fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { Spake2 } from "../../../src/protocol/crypto/spake2.ts";

const PASSWORD = utf8("98AFXZ2A");
const ID_A = utf8("cairn-initiator");
const ID_B = utf8("cairn-responder");

Deno.test("Spake2 gives the published answer of RustCrypto's test_asymmetric", () => {
  const start = (side: "A" | "B", scalar: bigint) =>
    Spake2.start(side, utf8("password"), utf8("idA"), utf8("idB"), scalarBytes(scalar));
  const a = start(
    "A",
    2611694063369306139794446498317402240796898290761098242657700742213257926693n,
  );
  const b = start(
    "B",
    7002393159576182977806091886122272758628412261510164356026361256515836884383n,
  );
  equal(toHex(a.message), "416fc960df73c9cf8ed7198b0c9534e2e96a5984bfc5edc023fd24dacf371f2af9");
  equal(toHex(b.message), "42354e97b88406922b1df4bea1d7870f17aed3dba7c720b313edae315b00959309");
  const key = "712295de7219c675ddd31942184aa26e0a957cf216bc230d165b215047b520c1";
  equal(toHex(a.finish(b.message)), key);
  equal(toHex(b.finish(a.message)), key);
});

Deno.test("Spake2 gives the known answer for cairn's identities", () => {
  const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(0x01));
  const b = Spake2.start("B", PASSWORD, ID_A, ID_B, repeated(0x02));
  equal(toHex(a.message), "41715c2878c24a57d5a4af7578a170a9e0d3964a57804a4ff58d779dc9d377229a");
  equal(toHex(b.message), "422bd3197a90312d93e2a5b54953c5f4708611724cb13d80eb8e8fc8b485adca0f");
  const key = "757b22a85e1fe08b6a2d3178cfb4ef66734ca9ec077393380152770c6c3846aa";
  equal(toHex(a.finish(b.message)), key);
  equal(toHex(b.finish(a.message)), key);
});

Deno.test("Spake2 gives different keys for different passwords or identities", () => {
  const keyOfA = (password: Uint8Array, idB: Uint8Array) => {
    const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(1));
    const b = Spake2.start("B", password, ID_A, idB, repeated(2));
    return { a: a.finish(b.message), b: b.finish(a.message) };
  };
  const same = keyOfA(PASSWORD, ID_B);
  deepEqual(same.a, same.b);
  const otherPassword = keyOfA(utf8("98AFXZ2B"), ID_B);
  notDeepEqual(otherPassword.a, otherPassword.b);
  const otherIdentity = keyOfA(PASSWORD, ID_A);
  notDeepEqual(otherIdentity.a, otherIdentity.b);
});

Deno.test("Spake2 refuses what is not a message of the other side", () => {
  const valid = Spake2.start("B", PASSWORD, ID_A, ID_B, repeated(2)).message;
  const cases: [string, Uint8Array, string][] = [
    ["empty", new Uint8Array(0), "malformed"],
    ["too short", valid.subarray(0, 32), "malformed"],
    ["too long", concatBytes(valid, Uint8Array.of(0)), "malformed"],
    ["own side", Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(3)).message, "malformed"],
    ["symmetric side", concatBytes(Uint8Array.of(0x53), valid.subarray(1)), "malformed"],
    ["off the curve", element("02" + "00".repeat(31)), "malformed"],
    ["y not below p", element("f0" + "ff".repeat(30) + "7f"), "malformed"],
    ["identity", element("01" + "00".repeat(31)), "weak-key"],
    ["order 2", element("ec" + "ff".repeat(30) + "7f"), "weak-key"],
    ["order 4", element("00".repeat(32)), "weak-key"],
    [
      "order 8",
      element("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
      "weak-key",
    ],
    // The base point plus the point of order 2, (0, -1): negate x and y.
    ["mixed order", element("95" + "99".repeat(31)), "weak-key"],
  ];
  for (const [name, message, code] of cases) {
    const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(1));
    throws(
      () => a.finish(message),
      (error) => error instanceof ProtocolError && error.code === code,
      name,
    );
  }
});

Deno.test("Spake2 refuses the element that cancels the blinding", () => {
  // N times the password scalar, which leaves the identity: side B's message less its own share.
  const plain = Spake2.start("B", PASSWORD, ID_A, ID_B, scalarBytes(1n)).message;
  const { Point } = ed25519;
  const unblinded = Point.fromBytes(plain.subarray(1)).subtract(Point.BASE).toBytes();
  const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(1));
  throws(
    () => a.finish(concatBytes(Uint8Array.of(0x42), unblinded)),
    (error) => error instanceof ProtocolError && error.code === "weak-key",
  );
});

Deno.test("Spake2 finishes once and needs a scalar", () => {
  const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(1));
  const b = Spake2.start("B", PASSWORD, ID_A, ID_B, repeated(2));
  a.finish(b.message);
  throws(() => a.finish(b.message), TypeError);
  throws(() => Spake2.start("A", PASSWORD, ID_A, ID_B, new Uint8Array(64)), RangeError);
  throws(() => Spake2.start("A", PASSWORD, ID_A, ID_B, new Uint8Array(32).fill(1)), RangeError);
});

Deno.test("Spake2 throws nothing but ProtocolError for whatever a remote sends", () => {
  const body = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(body, (bytes) => {
      const a = Spake2.start("A", PASSWORD, ID_A, ID_B, repeated(1));
      try {
        equal(a.finish(concatBytes(Uint8Array.of(0x42), bytes)).length, 32);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    }),
    { numRuns: 30 },
  );
});

function element(hex: string): Uint8Array {
  return concatBytes(Uint8Array.of(0x42), fromHex(hex));
}

/** The scalar as the 64 little-endian bytes that Spake2.start reduces. */
function scalarBytes(scalar: bigint): Uint8Array {
  return fromHex(scalar.toString(16).padStart(128, "0")).toReversed();
}

function repeated(byte: number): Uint8Array {
  return concatBytes(new Uint8Array(32).fill(byte), new Uint8Array(32));
}
