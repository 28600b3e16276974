/**
 * The reference project's published vectors, read where they are kept: `CAIRN_VECTORS`, else
 * `../shared/vectors` beside the repository.
 */

import { equal } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fromHex, fromUtf8, toHex, utf8 } from "../../src/base/bytes.ts";
import {
  type Aead,
  aes256Gcm,
  chacha20Poly1305,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  hkdfSha256,
  x25519,
  x25519KeyPair,
  x25519PublicKey,
} from "../../src/protocol/crypto/primitives.ts";
import {
  initiateRatchet,
  ratchetDecrypt,
  ratchetEncrypt,
  respondRatchet,
} from "../../src/protocol/session/double_ratchet.ts";
import { chainStep, messageNonce, rootStep } from "../../src/protocol/session/ratchet_keys.ts";
import { splitRatchetMessage } from "../../src/protocol/session/ratchet_message.ts";

const folder = Deno.env.get("CAIRN_VECTORS") ??
  new URL("../../../shared/vectors", import.meta.url).pathname;

/** Vectors that say something else than we do, and why. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  "ratchet-config-defaults": "we skip up to 1,000 messages, the reference 100",
};

/** The fields that the checks below read; each vector has some of them. */
interface Vector {
  readonly id: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly "expected_output": Readonly<Record<string, unknown>>;
}

/** Fields of a vector by name, hexadecimal unless said otherwise. */
class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return name in this.#values;
  }

  text(name: string): string {
    const value = this.#values[name];
    if (typeof value !== "string") throw new TypeError(`Vector has no text ${name}`);
    return value;
  }

  number(name: string): number {
    const value = this.#values[name];
    if (typeof value !== "number") throw new TypeError(`Vector has no number ${name}`);
    return value;
  }

  bytes(name: string): Uint8Array {
    return fromHex(this.text(name));
  }

  list(name: string): unknown[] {
    const value = this.#values[name];
    if (!Array.isArray(value)) throw new TypeError(`Vector has no list ${name}`);
    return value;
  }
}

type Check = (input: Fields, expected: Fields) => void;

const CIPHERS: Readonly<Record<string, Aead>> = {
  "AES-256-GCM": aes256Gcm,
  "ChaCha20-Poly1305": chacha20Poly1305,
};

conformance("crypto/aead_vectors.json", () => (input, expected) => {
  const cipher = CIPHERS[input.text("algorithm")];
  if (cipher === undefined) throw new TypeError("Vector names an unknown cipher");
  const [key, nonce, aad] = ["key_hex", "nonce_hex", "aad_hex"].map((name) => input.bytes(name));
  const sealed = cipher.seal(key!, nonce!, aad!, input.bytes("plaintext_hex"));
  equal(toHex(sealed), expected.text("ciphertext_and_tag_hex"));
  equal(toHex(cipher.open(key!, nonce!, aad!, sealed)), input.text("plaintext_hex"));
});

conformance("crypto/hkdf_vectors.json", () => (input, expected) => {
  const info = input.has("info") ? input.text("info") : input.bytes("info_hex");
  const salt = input.bytes("salt_hex");
  const length = input.number("output_length");
  const okm = hkdfSha256(input.bytes("ikm_hex"), salt, info, length);
  equal(toHex(okm), expected.text("okm_hex"));
  if (salt.every((byte) => byte === 0)) {
    equal(toHex(hkdfSha256(input.bytes("ikm_hex"), undefined, info, length)), toHex(okm));
  }
});

conformance("crypto/ed25519_vectors.json", () => (input, expected) => {
  const seed = input.bytes("seed_hex");
  const publicKey = ed25519PublicKey(seed);
  if (expected.has("public_key_hex")) equal(toHex(publicKey), expected.text("public_key_hex"));
  if (!expected.has("signature_hex")) return;
  const message = input.bytes("message_hex");
  equal(toHex(ed25519Sign(seed, message)), expected.text("signature_hex"));
  equal(ed25519Verify(publicKey, message, expected.bytes("signature_hex")), true);
});

conformance("crypto/x25519_vectors.json", () => (input, expected) => {
  if (input.has("static_secret_hex")) {
    equal(
      toHex(x25519PublicKey(input.bytes("static_secret_hex"))),
      expected.text("public_key_hex"),
    );
    return;
  }
  const other = input.has("secret_b_hex") ? "b" : "c";
  const name = other === "b" ? "shared_secret_hex" : "shared_secret_a_c_hex";
  const [a, b] = [input.bytes("secret_a_hex"), input.bytes(`secret_${other}_hex`)];
  equal(toHex(x25519PublicKey(a)), input.text("public_a_hex"));
  equal(toHex(x25519PublicKey(b)), input.text(`public_${other}_hex`));
  equal(toHex(x25519(a, input.bytes(`public_${other}_hex`))), expected.text(name));
  equal(toHex(x25519(b, input.bytes("public_a_hex"))), expected.text(name));
});

conformance("crypto/double_ratchet_vectors.json", (id) => {
  if (id.startsWith("ratchet-kdf-rk")) {
    return (input, expected) => {
      const [root, chain] = rootStep(input.bytes("root_key_hex"), input.bytes("dh_output_hex"));
      equal(toHex(root), expected.text("new_root_key_hex"));
      equal(toHex(chain), expected.text("new_chain_key_hex"));
    };
  }
  if (id.startsWith("ratchet-nonce")) {
    return (input, expected) => {
      const nonce = messageNonce(input.bytes("message_key_hex"), input.number("msg_num"));
      equal(toHex(nonce), expected.text("nonce_hex"));
    };
  }
  return RATCHET_CHECKS[id];
});

const RATCHET_CHECKS: Readonly<Record<string, Check>> = {
  "ratchet-kdf-ck-step0": (input, expected) => {
    const step = chainStep(input.bytes("chain_key_hex"));
    equal(toHex(step.messageKey), expected.text("message_key_hex"));
    equal(toHex(step.chainKey), expected.text("new_chain_key_hex"));
  },
  "ratchet-send-chain-3-messages": (input, expected) => {
    let chainKey = input.bytes("initial_chain_key_hex");
    const steps = expected.list("steps");
    equal(steps.length, input.number("num_messages"));
    for (const raw of steps) {
      const step = new Fields(Object(raw));
      equal(toHex(chainKey), step.text("input_chain_key_hex"));
      const next = chainStep(chainKey);
      equal(toHex(next.messageKey), step.text("message_key_hex"));
      equal(toHex(next.chainKey), step.text("output_chain_key_hex"));
      chainKey = next.chainKey;
    }
  },
  "ratchet-header-format": (input) => {
    const { initiator } = session();
    const state = {
      ...initiator,
      ownPair: { ...initiator.ownPair, publicKey: input.bytes("dh_public_hex") },
      previousSendCount: input.number("prev_chain_len"),
      sendNumber: input.number("msg_num"),
    };
    const { header } = splitRatchetMessage(ratchetEncrypt(state, utf8("x")).message);
    equal(toHex(header.publicKey), input.text("dh_public_hex"));
    equal(header.previousCount, input.number("prev_chain_len"));
    equal(header.number, input.number("msg_num"));
  },
  "ratchet-out-of-order-properties": (input) => {
    const { initiator, responder } = session();
    let sender = initiator;
    const messages = input.list("messages_sent").map((text) => {
      const result = ratchetEncrypt(sender, utf8(String(text)));
      sender = result.state;
      return result.message;
    });
    let receiver = responder;
    for (const index of input.list("delivery_order")) {
      const result = ratchetDecrypt(receiver, messages[Number(index)]!, pairOf(3));
      equal(fromUtf8(result.plaintext), input.list("messages_sent")[Number(index)]);
      receiver = result.state;
    }
  },
};

/** Declares a test per vector; a known deviation, or a file that is absent, shows as ignored. */
function conformance(file: string, checkFor: (id: string) => Check | undefined): void {
  let vectors: Vector[];
  try {
    vectors = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")).vectors;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    Deno.test({ name: `Conformance: ${file} is not here (CAIRN_VECTORS)`, ignore: true, fn() {} });
    return;
  }
  for (const { id, input, expected_output: expected } of vectors) {
    Deno.test({
      name: `Conformance: ${file} ${id}${id in DEVIATIONS ? ` (${DEVIATIONS[id]})` : ""}`,
      ignore: id in DEVIATIONS,
      fn() {
        const check = checkFor(id);
        if (check === undefined) throw new TypeError(`No check for ${id}`);
        check(new Fields(input), new Fields(expected));
      },
    });
  }
}

function session() {
  const responderPair = pairOf(1);
  const shared = new Uint8Array(32).fill(0x42);
  return {
    initiator: initiateRatchet(shared, responderPair.publicKey, pairOf(2)),
    responder: respondRatchet(shared, responderPair),
  };
}

function pairOf(fill: number) {
  return x25519KeyPair(new Uint8Array(32).fill(fill));
}
