import { deepEqual, equal } from "node:assert/strict";
import { hmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { hmacSha1, HmacSha256, hmacSha256 } from "../../../src/protocol/crypto/hmac.ts";

const QUESTION = utf8("what do ya want for nothing?");
const LARGE_KEY = utf8("Test Using Larger Than Block-Size Key - Hash Key First");

Deno.test("hmacSha1 gives RFC 2202 test cases 2, 3 and 6", () => {
  equal(toHex(hmacSha1(utf8("Jefe"), QUESTION)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  equal(
    toHex(hmacSha1(new Uint8Array(20).fill(0xaa), new Uint8Array(50).fill(0xdd))),
    "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
  );
  equal(
    toHex(hmacSha1(new Uint8Array(80).fill(0xaa), LARGE_KEY)),
    "aa4ae5e15272d00e95705637ce8a3b55ed402112",
  );
});

Deno.test("hmacSha256 gives RFC 4231 test cases 2, 4 and 6", () => {
  equal(
    toHex(hmacSha256(utf8("Jefe"), QUESTION)),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  const counting = fromHex("0102030405060708090a0b0c0d0e0f10111213141516171819");
  equal(
    toHex(hmacSha256(counting, new Uint8Array(50).fill(0xcd))),
    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  );
  equal(
    toHex(hmacSha256(new Uint8Array(131).fill(0xaa), LARGE_KEY)),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  );
});

Deno.test("HMAC in parts is that of a library over the whole, whatever came before", () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(fc.property(bytes, bytes, bytes, (key, first, second) => {
    const whole = Uint8Array.of(...first, ...second);
    deepEqual(hmacSha1(key, first, second), hmac(sha1, key, whole));
    deepEqual(hmacSha256(key, first, second), hmac(sha256, key, whole));
    const keyed = new HmacSha256(key);
    deepEqual(keyed.tag(first, second), hmac(sha256, key, whole));
    deepEqual(keyed.tag(first), hmac(sha256, key, first));
  }));
});
