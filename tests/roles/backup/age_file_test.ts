/** Encrypted files, held against one that another program made (age-encryption 0.3.1, N = 2^10). */

import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { concatBytes, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { systemHost } from "../../../src/base/host.ts";
import { requirePassphrase } from "../../../src/roles/backup/age_header.ts";
import { decryptFile, encryptFile } from "../../../src/roles/backup/age_payload.ts";

const PASSPHRASE = "nine green apples in a row";
const CHEAP = { host: systemHost, workFactor: 10 };
const CHUNK = 65_536 + 16;
const PLAIN = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
const FOREIGN = await Deno.readFile(
  new URL("../../vectors/age_two_chunks.age", import.meta.url),
);
/** Where its chunks begin: behind the header, whose last line has a MAC, and the nonce. */
const CHUNKS = FOREIGN.indexOf(0x0a, fromUtf8(FOREIGN.subarray(0, 150)).indexOf("\n---") + 1) + 17;

async function* piecesOf(bytes: Uint8Array, length = 1_000): AsyncGenerator<Uint8Array> {
  for (let first = 0; first < bytes.length; first += length) {
    yield await Promise.resolve(bytes.subarray(first, first + length));
  }
}

async function all(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return concatBytes(...await Array.fromAsync(source));
}

function decrypt(bytes: Uint8Array, passphrase = PASSPHRASE): Promise<Uint8Array> {
  return all(decryptFile(piecesOf(bytes), passphrase));
}

function refused(bytes: Uint8Array, message: RegExp, passphrase?: string): Promise<void> {
  return rejects(decrypt(bytes, passphrase), { code: "backup-unusable", message });
}

Deno.test("A file of another program of the format is opened", async () => {
  deepEqual(await decrypt(FOREIGN), PLAIN);
});

for (const length of [0, 65_536, 65_537]) {
  Deno.test(`What is encrypted can be decrypted: ${length} bytes`, async () => {
    const plain = PLAIN.subarray(0, length);
    const file = await all(encryptFile(piecesOf(plain, 777), PASSPHRASE, CHEAP));
    deepEqual(await decrypt(file), plain);
  });
}

Deno.test("Each guess at a passphrase costs 2^17 rounds of scrypt", async () => {
  const file = encryptFile(piecesOf(PLAIN), PASSPHRASE, { host: systemHost });
  const header = fromUtf8((await file.next()).value ?? new Uint8Array(0));
  await file.return();
  match(header, /^age-encryption\.org\/v1\n-> scrypt \S{22} 17\n\S{43}\n--- \S{43}\n$/);
});

Deno.test("A wrong passphrase is called that", async () => {
  await refused(FOREIGN, /^The passphrase does not open this backup/, "nine green apples");
});

Deno.test("A passphrase is the same however its letters are composed", async () => {
  const file = await all(
    encryptFile(piecesOf(utf8("x")), "zwölf Äpfel".normalize("NFD"), CHEAP),
  );
  equal(fromUtf8(await decrypt(file, "zwölf Äpfel".normalize("NFC"))), "x");
});

Deno.test("A file that was cut anywhere is refused", async () => {
  for (const end of [0, 10, 100, CHUNKS - 20, CHUNKS - 1]) {
    await refused(FOREIGN.subarray(0, end), /backup/);
  }
  for (
    const end of [CHUNKS, CHUNKS + 1, CHUNKS + CHUNK - 1, CHUNKS + CHUNK + 5, FOREIGN.length - 1]
  ) {
    await refused(FOREIGN.subarray(0, end), /ends too early/);
  }
  await refused(FOREIGN.subarray(0, CHUNKS + CHUNK), /^The backup ends too early/);
});

Deno.test("A flipped bit is found wherever it is", async () => {
  const places = [
    0,
    25,
    40,
    60,
    90,
    120,
    CHUNKS - 1,
    CHUNKS,
    CHUNKS + CHUNK - 1,
    FOREIGN.length - 1,
  ];
  for (const place of places) {
    const flipped = FOREIGN.slice();
    flipped[place] = (flipped[place] ?? 0) ^ 1;
    await refused(flipped, /backup/);
  }
});

Deno.test("Chunks cannot change places, be repeated, or be followed by others", async () => {
  const [start, first, last] = [
    FOREIGN.subarray(0, CHUNKS),
    FOREIGN.subarray(CHUNKS, CHUNKS + CHUNK),
    FOREIGN.subarray(CHUNKS + CHUNK),
  ];
  await refused(concatBytes(start, last, first), /damaged/);
  await refused(concatBytes(start, first, first, last), /damaged/);
  await refused(concatBytes(start, last), /damaged/);
  await refused(concatBytes(FOREIGN, utf8("more")), /damaged/);
});

Deno.test("A file that asks for more memory than any machine has is refused before it gets it", async () => {
  const text = fromUtf8(FOREIGN.subarray(0, 60)).replace(/ 10\n/, " 30\n");
  await refused(concatBytes(utf8(text), FOREIGN.subarray(60)), /more memory/);
});

Deno.test("Nothing is given out of a chunk that is not authentic", async () => {
  const flipped = FOREIGN.slice();
  flipped[CHUNKS + CHUNK] = (flipped[CHUNKS + CHUNK] ?? 0) ^ 1;
  let given = 0;
  await rejects(async () => {
    for await (const bytes of decryptFile(piecesOf(flipped), PASSPHRASE)) given += bytes.length;
  });
  equal(given, 65_536);
});

Deno.test("A short passphrase is refused", () => {
  requirePassphrase("twelve chars");
  throws(() => requirePassphrase("eleven char"), {
    code: "invalid-option",
  });
});
