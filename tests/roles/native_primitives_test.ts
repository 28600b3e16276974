/** The portable primitives' own tests, known answers first, with the native ones in their place. */

import { deepEqual, equal, throws } from "node:assert/strict";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 as nobleSha256, sha512 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { concatBytes, fromHex } from "../../src/base/bytes.ts";
import {
  type Aead,
  aes256Gcm,
  chacha20Poly1305,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  installPrimitives,
  isUsableX25519Key,
  sha256,
  x25519,
  x25519PublicKey,
} from "../../src/protocol/crypto/primitives.ts";
import { nativePrimitives } from "../../src/roles/native_primitives.ts";
import "../protocol/crypto/primitives_test.ts";

installPrimitives(nativePrimitives);

Deno.test("what is installed is what is used, until it is taken away", () => {
  const mark = new Uint8Array(32).fill(0xcc);
  const marker: Aead = { seal: () => mark, open: () => mark };
  const calls = () => [
    chacha20Poly1305.seal(mark, mark.subarray(20), mark, mark),
    chacha20Poly1305.open(mark, mark.subarray(20), mark, mark),
    aes256Gcm.seal(mark, mark.subarray(20), mark, mark),
    aes256Gcm.open(mark, mark.subarray(20), mark, mark),
    x25519(mark, mark),
    x25519PublicKey(mark),
    sha256(mark),
  ];
  const base = ed25519.Point.BASE.toBytes();
  try {
    installPrimitives({
      chacha20Poly1305: marker,
      aes256Gcm: marker,
      sha256: () => mark,
      x25519: () => mark,
      x25519PublicKey: () => mark,
      ed25519Verify: () => true,
    });
    deepEqual(calls(), calls().fill(mark));
    equal(ed25519Verify(base, mark, new Uint8Array(64)), true);
    installPrimitives();
    throws(calls, { code: "decryption-failed" });
    equal(ed25519Verify(base, mark, new Uint8Array(64)), false);
  } finally {
    installPrimitives(nativePrimitives);
  }
});

Deno.test("native SHA-256 is that of the portable one, of any parts", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (parts) => {
    const [native, portable] = [nativePrimitives.sha256(parts), nobleSha256(concatBytes(...parts))];
    deepEqual(native, portable);
  }));
});

const LENGTHS = [0, 1, 15, 16, 17, 255, 1_024, 65_519];

for (const [name, aead] of Object.entries({ chacha20Poly1305, aes256Gcm })) {
  Deno.test(`native ${name} seals and opens what the portable one does`, () => {
    fc.assert(
      fc.property(key(), bytes(12), fc.uint8Array(), content(), (secret, nonce, aad, plaintext) => {
        const [sealed, again] = both(() => aead.seal(secret, nonce, aad, plaintext));
        deepEqual(sealed, again);
        equal(sealed.constructor, Uint8Array);
        const [opened] = both(() => aead.open(secret, nonce, aad, sealed));
        deepEqual(opened, plaintext);
        equal(opened.buffer.byteLength, opened.length, "shares no memory with anything else");
      }),
      { numRuns: 60 },
    );
  });

  Deno.test(`native ${name} gives nothing away before the tag was compared`, () => {
    refusesEveryChange(aead);
  });
}

Deno.test("native X25519 agrees with the portable one, also on unusual encodings", () => {
  fc.assert(
    fc.property(key(), fc.oneof(key(), unusualU()), (secret, publicKey) => {
      const [shared, again] = both(() => {
        try {
          return x25519(secret, publicKey);
        } catch (error) {
          return String(error);
        }
      });
      deepEqual(shared, again);
      const [usable, still] = both(() => isUsableX25519Key(publicKey));
      equal(usable, still);
      const [own, same] = both(() => x25519PublicKey(secret));
      deepEqual(own, same);
    }),
    { numRuns: 100 },
  );
});

Deno.test("native Ed25519 accepts and refuses what the portable one does", () => {
  fc.assert(
    fc.property(key(), fc.uint8Array(), fc.nat({ max: 95 }), (seed, message, position) => {
      const good = concatBytes(ed25519PublicKey(seed), ed25519Sign(seed, message));
      const changed = good.slice();
      changed[position]! ^= 1 << position % 8;
      for (const [bytes, accepted] of [[good, true], [changed, false]] as const) {
        const verdicts = both(() =>
          ed25519Verify(bytes.subarray(0, 32), message, bytes.subarray(32))
        );
        deepEqual(verdicts, [accepted, accepted]);
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("a signature that verifies with the cofactor only is judged as before", () => {
  const { BASE, Fn } = ed25519.Point;
  const order8 = ed25519.Point.fromHex(
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  );
  const message = fromHex("00");
  const [secret, nonce] = [7n, 11n];
  const publicKey = BASE.multiply(secret).add(order8).toBytes();
  const r = BASE.multiply(nonce).toBytes();
  const k = Fn.create(littleEndian(sha512(concatBytes(r, publicKey, message))));
  const signature = concatBytes(r, Fn.toBytes(Fn.create(nonce + k * secret)));
  equal(nativePrimitives.ed25519Verify(publicKey, message, signature), false, "OpenSSL refuses it");
  deepEqual(both(() => ed25519Verify(publicKey, message, signature)), [true, true]);
});

/** What `action` gives with the native primitives, and with the portable ones. */
function both<T>(action: () => T): [T, T] {
  const native = action();
  installPrimitives();
  try {
    return [native, action()];
  } finally {
    installPrimitives(nativePrimitives);
  }
}

function refusesEveryChange(aead: Aead): void {
  const [secret, nonce, aad] = [new Uint8Array(32).fill(1), new Uint8Array(12), new Uint8Array(3)];
  const sealed = aead.seal(secret, nonce, aad, new Uint8Array(100));
  for (let position = 0; position < sealed.length; position++) {
    const changed = sealed.slice();
    changed[position]! ^= 1;
    throws(() => aead.open(secret, nonce, aad, changed), { code: "decryption-failed" });
  }
  // Cut short, so that other bytes stand where the tag is looked for.
  for (let length = 0; length < sealed.length; length++) {
    const short = sealed.subarray(0, length);
    throws(() => aead.open(secret, nonce, aad, short), { code: "decryption-failed" });
  }
}

function bytes(length: number) {
  return fc.uint8Array({ minLength: length, maxLength: length });
}

function key() {
  return bytes(32);
}

function content() {
  return fc.oneof(fc.uint8Array(), fc.constantFrom(...LENGTHS.map((size) => new Uint8Array(size))));
}

/** Small u coordinates, those around the field prime, each with and without the unused top bit. */
function unusualU() {
  return fc.tuple(fc.boolean(), fc.boolean(), fc.nat({ max: 40 })).map(([high, top, offset]) => {
    const u = new Uint8Array(32).fill(high ? 0xff : 0);
    u[0] = high ? 0xff - offset : offset;
    u[31] = (high ? 0x7f : 0) | (top ? 0x80 : 0);
    return u;
  });
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt("0x" + bytes.toReversed().toHex());
}
