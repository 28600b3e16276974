/** The header of a file of the format age (C2SP, age-encryption.org/v1) for a passphrase. */

import { createHmac, hkdfSync, scrypt } from "node:crypto";
import {
  concatBytes,
  equalSecret,
  fromBase64,
  fromUtf8,
  toBase64,
  utf8,
} from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { nativePrimitives } from "../native_primitives.ts";
import type { ByteReader } from "./byte_reader.ts";

const VERSION_LINE = "age-encryption.org/v1";
const SCRYPT_LABEL = "age-encryption.org/v1/scrypt";
const FILE_KEY_BYTES = 16;
const SALT_BYTES = 16;
/** N = 2^17, r = 8, p = 1: 128 MiB and about half a second for each guess. */
const WORK_FACTOR = 17;
/** What a file may ask for at most: 1 GiB. */
const MAX_LOG_N = 20;
const SCRYPT_R = 8;
const NONCE = new Uint8Array(12);
const NO_DATA = new Uint8Array(0);
const { chacha20Poly1305 } = nativePrimitives;
/** Longer than any header for one passphrase. */
const MAX_LINE = 128;

/** The shortest passphrase that anything is encrypted with, in characters. */
export const MIN_PASSPHRASE = 12;

/** @throws {CairnError} `invalid-option` for one that is too easily guessed. */
export function requirePassphrase(passphrase: string): void {
  if ([...passphrase].length >= MIN_PASSPHRASE) return;
  throw new CairnError(
    "invalid-option",
    `A passphrase has at least ${MIN_PASSPHRASE} characters; several random words ` +
      "are right",
  );
}

export interface EncryptionOptions {
  readonly host: Host;
  /** Logarithm of scrypt's N; default 17. */
  readonly workFactor?: number;
}

/** A random key of a file, and the header that gives it to whoever knows the passphrase. */
export async function sealFileKey(
  passphrase: string,
  { host, workFactor = WORK_FACTOR }: EncryptionOptions,
): Promise<{ readonly header: Uint8Array; readonly fileKey: Uint8Array }> {
  const fileKey = host.random(FILE_KEY_BYTES);
  const salt = host.random(SALT_BYTES);
  const key = await wrappingKey(passphrase, salt, workFactor);
  const wrapped = chacha20Poly1305.seal(key, NONCE, NO_DATA, fileKey);
  const covered = `${VERSION_LINE}\n-> scrypt ${bare(salt)} ${workFactor}\n${bare(wrapped)}\n---`;
  return { header: utf8(`${covered} ${bare(macOf(fileKey, covered))}\n`), fileKey };
}

/** Reads a header. @throws {CairnError} `backup-unusable`: no backup, damaged, wrong passphrase. */
export async function openFileKey(reader: ByteReader, passphrase: string): Promise<Uint8Array> {
  if (await readLine(reader) !== VERSION_LINE) {
    throw unusable("This is not a backup of cairn: it does not begin as one");
  }
  const stanza = await readLine(reader);
  const body = await readLine(reader);
  const end = await readLine(reader);
  const [, saltText = "", logN = ""] = /^-> scrypt (\S{22}) ([1-9]\d?)$/.exec(stanza) ?? [];
  const [, macText = ""] = /^--- (\S{43})$/.exec(end) ?? [];
  const [salt, wrapped, mac] = [saltText, body, macText].map(unbare);
  if (salt?.length !== SALT_BYTES || wrapped?.length !== FILE_KEY_BYTES + 16 || !mac?.length) {
    throw unusable("The header of the backup is damaged, or of a file for another program");
  }
  if (Number(logN) > MAX_LOG_N) {
    throw unusable("The header of the backup is damaged: it asks for more memory than any has");
  }
  const key = await wrappingKey(passphrase, salt, Number(logN));
  let fileKey: Uint8Array;
  try {
    fileKey = chacha20Poly1305.open(key, NONCE, NO_DATA, wrapped);
  } catch {
    throw unusable(
      "The passphrase does not open this backup; if it is the right one, the beginning of the " +
        "file is damaged",
    );
  }
  const covered = `${VERSION_LINE}\n${stanza}\n${body}\n---`;
  if (!equalSecret(macOf(fileKey, covered), mac)) {
    throw unusable("The header of the backup is damaged");
  }
  return fileKey;
}

/** The key of the chunks behind a header and `nonce`. */
export function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", fileKey, nonce, "payload", 32));
}

/** A backup that cannot be used, in a sentence that says why. */
export function unusable(why: string, cause?: unknown): CairnError {
  return new CairnError("backup-unusable", why, { cause });
}

function macOf(fileKey: Uint8Array, covered: string): Uint8Array {
  const key = new Uint8Array(hkdfSync("sha256", fileKey, NO_DATA, "header", 32));
  return new Uint8Array(createHmac("sha256", key).update(covered).digest());
}

/** Works in a thread of its own. Keyboards that compose letters differently type the same. */
function wrappingKey(passphrase: string, salt: Uint8Array, logN: number): Promise<Uint8Array> {
  const N = 2 ** logN;
  const options = { N, r: SCRYPT_R, p: 1, maxmem: 128 * SCRYPT_R * N * 2 };
  const labelled = concatBytes(utf8(SCRYPT_LABEL), salt);
  return new Promise((resolve, reject) => {
    scrypt(utf8(passphrase.normalize("NFC")), labelled, 32, options, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}

async function readLine(reader: ByteReader): Promise<string> {
  const bytes: number[] = [];
  while (bytes.length <= MAX_LINE) {
    const [byte] = await reader.read(1);
    if (byte === undefined) break;
    if (byte === 0x0a) return latin(bytes);
    bytes.push(byte);
  }
  return latin(bytes);
}

function latin(bytes: readonly number[]): string {
  return bytes.every((byte) => byte < 0x80) ? fromUtf8(Uint8Array.from(bytes)) : "";
}

/** Base64 without its padding, as age has it. */
function bare(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/=+$/, "");
}

/** Only what {@linkcode bare} writes: one form for each value. */
function unbare(text: string): Uint8Array | undefined {
  try {
    const bytes = fromBase64(text.padEnd(Math.ceil(text.length / 4) * 4, "="));
    return bare(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}
