import { deepEqual, equal, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { verify as nodeVerify } from "node:crypto";
import fc from "fast-check";
import { concatBytes, fromHex, toHex, u64, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { hmacSha256 } from "../../../src/protocol/crypto/hmac.ts";
import {
  type Aead,
  aes256Gcm,
  chacha20Poly1305,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  hkdfSha256,
  isUsableEd25519Key,
  isUsableX25519Key,
  sha256,
  x25519,
  x25519KeyPair,
  x25519PublicKey,
  xchacha20Poly1305,
} from "../../../src/protocol/crypto/primitives.ts";

Deno.test("sha256 hashes its parts as one message (FIPS 180-4 example)", () => {
  const expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  equal(toHex(sha256(utf8("abc"))), expected);
  equal(toHex(sha256(utf8("a"), new Uint8Array(0), utf8("bc"))), expected);
});

Deno.test("hkdfSha256 gives RFC 5869 test cases 1 and 3", () => {
  const ikm = new Uint8Array(22).fill(0x0b);
  const salt = fromHex("000102030405060708090a0b0c");
  equal(
    toHex(hkdfSha256(ikm, salt, fromHex("f0f1f2f3f4f5f6f7f8f9"), 42)),
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
  );
  const third =
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
  equal(toHex(hkdfSha256(ikm, new Uint8Array(0), new Uint8Array(0), 42)), third);
  equal(toHex(hkdfSha256(ikm, undefined, "", 42)), third);
});

Deno.test("hkdfSha256 and hmacSha256 give the reference's pairing and resumption answers", () => {
  const nonces = Uint8Array.from({ length: 32 }, (_, index) => index);
  const secret = new Uint8Array(32).fill(0xaa);
  equal(
    toHex(hkdfSha256(secret, nonces, "cairn-pairing-session-key-v1", 32)),
    "fd421a77f0fd631628ba5a76e26d905b479af16c495b9857f15c867abc362b6d",
  );
  equal(
    toHex(hkdfSha256(secret, nonces.subarray(0, 16), "cairn-pairing-rendezvous-v1", 32)),
    "72160abd3d7a15bdb4692d94f8943d5fd0c986ebdb169ca3486460ce0719116a",
  );
  const key = hkdfSha256(new Uint8Array(32).fill(0x42), undefined, "cairn-session-resume-v1", 32);
  const sessionId = fromHex("0193a54d000070008000000000000001");
  const proof = concatBytes(new Uint8Array(32).fill(1), u64(1_700_000_000), sessionId);
  equal(
    toHex(hmacSha256(key, proof)),
    "be8a3409524eeb94a07f14199b498e29a9d60bc8c3903fc07151ce90c254e33c",
  );
});

const SUNSCREEN = utf8(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
    "sunscreen would be it.",
);

const AEAD_VECTORS: {
  name: string;
  aead: Aead;
  key: string;
  nonce: string;
  aad: string;
  plaintext: Uint8Array;
  sealed: string;
}[] = [
  {
    name: "chacha20Poly1305 gives RFC 8439 section 2.8.2",
    aead: chacha20Poly1305,
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "070000004041424344454647",
    aad: "50515253c0c1c2c3c4c5c6c7",
    plaintext: SUNSCREEN,
    sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca96712" +
      "82fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4" +
      "fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd060" +
      "0691",
  },
  {
    name: "xchacha20Poly1305 gives draft-irtf-cfrg-xchacha-03 appendix A.3.1",
    aead: xchacha20Poly1305,
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "404142434445464748494a4b4c4d4e4f5051525354555657",
    aad: "50515253c0c1c2c3c4c5c6c7",
    plaintext: SUNSCREEN,
    sealed: "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa644" +
      "0bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2b" +
      "c369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780a" +
      "cf49",
  },
  {
    name: "aes256Gcm gives test case 16 of the GCM specification",
    aead: aes256Gcm,
    key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    nonce: "cafebabefacedbaddecaf888",
    aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    plaintext: fromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24" +
        "49a6b525b16aedf5aa0de657ba637b39",
    ),
    sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3d" +
      "a7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
  },
];

for (const { name, aead, plaintext, ...vector } of AEAD_VECTORS) {
  const [key, nonce, aad, sealed] = [vector.key, vector.nonce, vector.aad, vector.sealed]
    .map(fromHex) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];

  Deno.test(name, () => {
    equal(toHex(aead.seal(key, nonce, aad, plaintext)), vector.sealed);
    deepEqual(aead.open(key, nonce, aad, sealed), plaintext);
  });

  Deno.test(`${name}, and refuses anything that was changed`, () => {
    for (let position = 0; position < sealed.length; position += 7) {
      const changed = sealed.slice();
      changed[position]! ^= 0x80;
      refuses("decryption-failed", () => aead.open(key, nonce, aad, changed));
    }
    refuses("decryption-failed", () => aead.open(key, nonce, aad.subarray(1), sealed));
    refuses("decryption-failed", () => aead.open(key, nonce.toReversed(), aad, sealed));
    refuses("decryption-failed", () => aead.open(key.toReversed(), nonce, aad, sealed));
    for (const length of [0, 1, 15, 16, sealed.length - 1]) {
      refuses("decryption-failed", () => aead.open(key, nonce, aad, sealed.subarray(0, length)));
    }
    throws(() => aead.open(key.subarray(1), nonce, aad, sealed), RangeError);
    throws(() => aead.seal(key, nonce.subarray(1), aad, plaintext), RangeError);
  });
}

Deno.test("x25519 gives the answers of RFC 7748 section 5.2", () => {
  equal(
    toHex(x25519(
      fromHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
      fromHex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    )),
    "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
  );
  // Here the unused top bit of the public key is set.
  equal(
    toHex(x25519(
      fromHex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
      fromHex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
    )),
    "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
  );
  let k: Uint8Array = fromHex("09" + "00".repeat(31));
  let u = k;
  for (let i = 0; i < 1000; i++) [k, u] = [x25519(k, u), k];
  equal(toHex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
});

Deno.test("x25519 gives the Diffie-Hellman of RFC 7748 section 6.1", () => {
  const a = x25519KeyPair(
    fromHex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
  );
  const bSecret = fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  equal(toHex(a.publicKey), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const bPublic = x25519PublicKey(bSecret);
  equal(toHex(bPublic), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  equal(toHex(x25519(a.secret, bPublic)), shared);
  equal(toHex(x25519(bSecret, a.publicKey)), shared);
});

/** Small-order u coordinates of Curve25519 and its twist: cr.yp.to/ecdh.html, "validate". */
const SMALL_ORDER_U = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

Deno.test("x25519 refuses every public key of small order", () => {
  const secret = new Uint8Array(32).fill(0x42);
  for (const hex of SMALL_ORDER_U) {
    for (const topBit of [0, 0x80]) {
      const publicKey = fromHex(hex);
      publicKey[31]! |= topBit;
      refuses("weak-key", () => x25519(secret, publicKey));
      equal(isUsableX25519Key(publicKey), false);
    }
  }
  refuses("malformed", () => x25519(secret, new Uint8Array(31)));
  throws(() => x25519(new Uint8Array(31), new Uint8Array(32)), RangeError);
});

Deno.test("isUsableX25519Key lets one encoding of a key pass", () => {
  const { publicKey } = x25519KeyPair(new Uint8Array(32).fill(0x42));
  equal(isUsableX25519Key(publicKey), true);
  const topBit = publicKey.slice();
  topBit[31]! |= 0x80;
  equal(isUsableX25519Key(topBit), false);
  // The base point 9 and the same point written as 9 + p.
  equal(isUsableX25519Key(fromHex("09" + "00".repeat(31))), true);
  equal(isUsableX25519Key(fromHex("f6" + "ff".repeat(30) + "7f")), false);
  equal(isUsableX25519Key(publicKey.subarray(1)), false);
});

const ED25519_VECTORS = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature: "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac" +
      "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e" +
      "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature: "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290" +
      "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

Deno.test("ed25519Sign and ed25519Verify give RFC 8032 section 7.1, tests 1 to 3", () => {
  for (const vector of ED25519_VECTORS) {
    const seed = fromHex(vector.seed);
    const message = fromHex(vector.message);
    const publicKey = ed25519PublicKey(seed);
    equal(toHex(publicKey), vector.publicKey);
    equal(toHex(ed25519Sign(seed, message)), vector.signature);
    equal(ed25519Verify(publicKey, message, fromHex(vector.signature)), true);
    equal(ed25519Verify(publicKey, utf8("other"), fromHex(vector.signature)), false);
    equal(isUsableEd25519Key(publicKey), true);
  }
});

Deno.test("ed25519Verify refuses S + L, the same signature in another form", () => {
  const [vector] = ED25519_VECTORS;
  const signature = fromHex(vector!.signature);
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt("0x" + toHex(signature.slice(32).toReversed())) + order;
  const malleated = concatBytes(
    signature.subarray(0, 32),
    fromHex(s.toString(16).padStart(64, "0")).toReversed(),
  );
  const publicKey = fromHex(vector!.publicKey);
  equal(ed25519Verify(publicKey, new Uint8Array(0), malleated), false);
  equal(ed25519Verify(publicKey, new Uint8Array(0), signature), true);
});

/** The eight points of small order, each also in its non-canonical forms where one exists. */
const SMALL_ORDER_EDWARDS = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

Deno.test("a small-order key, for which OpenSSL accepts a signature on anything, is refused", () => {
  const identity = SMALL_ORDER_EDWARDS[0]!;
  const signature = concatBytes(fromHex(identity), new Uint8Array(32));
  const spki = fromHex("302a300506032b6570032100" + identity);
  const key = { key: Buffer.from(spki), format: "der", type: "spki" } as const;
  equal(nodeVerify(null, utf8("anything"), key, signature), true);
  for (const hex of SMALL_ORDER_EDWARDS) {
    equal(ed25519Verify(fromHex(hex), utf8("anything"), signature), false);
    equal(isUsableEd25519Key(fromHex(hex)), false);
  }
});

Deno.test("isUsableEd25519Key refuses keys of mixed order, off the curve and of a wrong length", () => {
  // The base point, and the base point plus the point of order 2.
  equal(isUsableEd25519Key(fromHex("58" + "66".repeat(31))), true);
  equal(isUsableEd25519Key(fromHex("95" + "99".repeat(31))), false);
  equal(isUsableEd25519Key(fromHex("02" + "00".repeat(31))), false);
  equal(isUsableEd25519Key(fromHex("58" + "66".repeat(30))), false);
});

Deno.test("ed25519Verify and isUsableEd25519Key never throw", () => {
  const bytes = (size: number) =>
    fc.oneof(fc.uint8Array({ minLength: size, maxLength: size }), fc.uint8Array());
  fc.assert(
    fc.property(bytes(32), fc.uint8Array(), bytes(64), (publicKey, message, signature) => {
      equal(ed25519Verify(publicKey, message, signature), false);
      isUsableEd25519Key(publicKey);
      isUsableX25519Key(publicKey);
    }),
    { numRuns: 100 },
  );
});

function refuses(code: string, action: () => unknown): void {
  throws(action, (error) => error instanceof ProtocolError && error.code === code);
}
