import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, fromHex, fromUtf8, toHex, u32, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  aes256Gcm,
  hkdfSha256,
  type KeyPair,
  x25519KeyPair,
} from "../../../src/protocol/crypto/primitives.ts";
import {
  canSend,
  initiateRatchet,
  MAX_SKIP,
  ratchetDecrypt,
  ratchetEncrypt,
  respondRatchet,
} from "../../../src/protocol/session/double_ratchet.ts";
import {
  decodeRatchetState,
  encodeRatchetState,
  MAX_SKIPPED_KEYS,
  type RatchetState,
} from "../../../src/protocol/session/ratchet_state.ts";

const SHARED = new Uint8Array(32).fill(0x42);
const RESPONDER_0 = pairOf(0x66);
const RESPONDER_1 = pairOf(0x67);
const INITIATOR_0 = pairOf(0x77);
const INITIATOR_1 = pairOf(0x78);

Deno.test("Double Ratchet gives the known bytes over two chains of the initiator and one reply", () => {
  // The first message is reference-known; the rest was computed with pyca/cryptography.
  let { initiator, responder } = session();
  equal(
    toHex(initiator.rootKey),
    "41d4a61e9dc7bc55e775ba9450a7c4b0c35420bafbc847c867ea4dd89756becd",
  );
  equal(
    toHex(initiator.sendChain!),
    "624419b3b5543ced0ee777bf2d3301c1de0873e82bdb77d26e2312c62ab2a795",
  );
  const header0 =
    '{"dh_public":[28,245,121,171,164,90,16,186,29,30,240,109,145,252,162,170,158,208,161,21,5,21,' +
    '101,49,85,64,93,11,24,203,154,103],"prev_chain_len":0,"msg_num":0}';

  const first = ratchetEncrypt(initiator, utf8("hello"));
  equal(toHex(first.message.subarray(0, 4)), "0000009f");
  equal(fromUtf8(first.message.subarray(4, 163)), header0);
  equal(toHex(first.message.subarray(163)), "72d2a38030729b818138f3101c7d1e336ba1b738d1");
  const second = ratchetEncrypt(first.state, utf8("second"));
  equal(toHex(second.message.subarray(163)), "c1c28dea701ae27f1872c768391ad9e3d9aff23910dd");
  initiator = second.state;

  for (const { message } of [first, second]) {
    responder = ratchetDecrypt(responder, message, RESPONDER_1).state;
  }
  const answer = ratchetEncrypt(responder, utf8("answer"));
  equal(
    toHex(answer.message),
    "0000009a7b2264685f7075626c6963223a5b3130382c3136332c3139312c35372c3231372c3131382c3137312c35" +
      "342c3136382c382c38332c32372c3231352c3233362c34362c37352c37392c3133382c3137342c35382c313434" +
      "2c31392c36392c35322c3231332c31352c36352c32392c35352c3132322c34342c355d2c22707265765f636861" +
      "696e5f6c656e223a302c226d73675f6e756d223a307d72866db56335219d19484590883a567bc22574e0f3bb",
  );
  const answered = ratchetDecrypt(initiator, answer.message, INITIATOR_1);
  deepEqual(answered.plaintext, utf8("answer"));
  const third = ratchetEncrypt(answered.state, utf8("third"));
  equal(
    toHex(third.message),
    "0000009e7b2264685f7075626c6963223a5b3135352c37342c3231332c31312c3137352c332c37302c3235302c31" +
      "36352c3231362c34302c3230312c3137382c37322c34302c342c3233382c3135362c31302c35332c33392c3636" +
      "2c3135342c3132322c3134362c3136312c3231332c3137302c37372c3137392c3138322c33385d2c2270726576" +
      "5f636861696e5f6c656e223a322c226d73675f6e756d223a307d9c8d2bae36646717314283c2dd7a35dfd39bf8" +
      "4e91",
  );
  equal(
    toHex(third.state.rootKey),
    "102cb46193cfc700520ee40e8c042eac07e8858c79d92137ac110c0fee202376",
  );
  deepEqual(ratchetDecrypt(answer.state, third.message, pairOf(9)).plaintext, utf8("third"));
});

Deno.test("Double Ratchet derives the reference's resumption key from its root", () => {
  const key = hkdfSha256(session().initiator.rootKey, undefined, "cairn-session-resume-v1", 32);
  equal(toHex(key), "883432c441f069972b83cdfb9fdf1417ebf2fb3ab60905a16e6e5c45f329eff1");
});

Deno.test("ratchetEncrypt needs a sending chain, which a responder has after its first message", () => {
  const { initiator, responder } = session();
  equal(canSend(responder), false);
  throws(() => ratchetEncrypt(responder, utf8("early")), TypeError);
  const { message } = ratchetEncrypt(initiator, utf8("hello"));
  equal(canSend(ratchetDecrypt(responder, message, RESPONDER_1).state), true);
});

Deno.test("ratchetEncrypt never uses a state twice, nor one that forked from it", () => {
  const { initiator, responder } = session();
  const hello = ratchetEncrypt(initiator, utf8("hello"));
  equal(canSend(initiator), false);
  throws(() => ratchetEncrypt(initiator, utf8("other")), TypeError);

  const more = ratchetEncrypt(hello.state, utf8("more"));
  const received = ratchetDecrypt(responder, hello.message, RESPONDER_1).state;
  const answer = ratchetEncrypt(received, utf8("answer"));
  // A second receipt on the state from before the answer continues the same sending chain.
  const forked = ratchetDecrypt(received, more.message, pairOf(9)).state;
  equal(canSend(forked), false);
  throws(() => ratchetEncrypt(forked, utf8("other")), TypeError);
  equal(canSend(answer.state), true);
});

Deno.test("ratchetDecrypt reads messages out of order and each of them once", () => {
  const { initiator, responder } = session();
  const { messages } = encryptMany(initiator, 3);
  let state = responder;
  for (const index of [2, 0, 1]) {
    const result = ratchetDecrypt(state, messages[index]!, RESPONDER_1);
    deepEqual(result.plaintext, plaintextOf(index));
    state = result.state;
    refuses("decryption-failed", () => ratchetDecrypt(state, messages[index]!, pairOf(9)));
  }
  equal(state.skipped.length, 0);
});

Deno.test("ratchetDecrypt reads a message of an earlier chain after the chain has changed", () => {
  const { initiator, responder } = session();
  const sent = encryptMany(initiator, 3);
  const opened = ratchetDecrypt(responder, sent.messages[0]!, RESPONDER_1);
  const answer = ratchetEncrypt(opened.state, utf8("answer"));
  const answered = ratchetDecrypt(sent.state, answer.message, INITIATOR_1);
  const next = ratchetEncrypt(answered.state, utf8("next chain"));
  let state = ratchetDecrypt(answer.state, next.message, pairOf(9)).state;
  equal(state.skipped.length, 2);
  for (const index of [2, 1]) {
    const late = ratchetDecrypt(state, sent.messages[index]!, pairOf(10));
    deepEqual(late.plaintext, plaintextOf(index));
    state = late.state;
  }
});

Deno.test("ratchetDecrypt allows 1,000 missing messages before one and no more", () => {
  const { initiator, responder } = session();
  const { messages } = encryptMany(initiator, MAX_SKIP + 2);
  const opened = ratchetDecrypt(responder, messages[MAX_SKIP]!, RESPONDER_1);
  equal(opened.state.skipped.length, MAX_SKIP);
  deepEqual(opened.plaintext, plaintextOf(MAX_SKIP));
  refuses("too-large", () => ratchetDecrypt(responder, messages[MAX_SKIP + 1]!, RESPONDER_1));
});

Deno.test("ratchetDecrypt keeps 2,000 keys of missing messages and drops the oldest", () => {
  const { initiator, responder } = session();
  const { messages } = encryptMany(initiator, 2103);
  let state = responder;
  for (const index of [1000, 2001, 2102]) {
    state = ratchetDecrypt(state, messages[index]!, RESPONDER_1).state;
  }
  equal(state.skipped.length, MAX_SKIPPED_KEYS);
  refuses("decryption-failed", () => ratchetDecrypt(state, messages[99]!, RESPONDER_1));
  deepEqual(ratchetDecrypt(state, messages[100]!, RESPONDER_1).plaintext, plaintextOf(100));
  deepEqual(ratchetDecrypt(state, messages[2101]!, RESPONDER_1).plaintext, plaintextOf(2101));

  const encoded = encodeRatchetState(state);
  ok(encoded.length < 73_000, `${encoded.length} bytes`);
  deepEqual(decodeRatchetState(encoded), state);
});

Deno.test("ratchetDecrypt takes the received header bytes as associated data, whatever their order", () => {
  const { responder, initiator } = session();
  const { chainKey, pair } = { chainKey: initiator.sendChain!, pair: INITIATOR_0 };
  const header = utf8(
    `{"dh_public": [${pair.publicKey.join(", ")}], "msg_num": 0, "prev_chain_len": 0}`,
  );
  const messageKey = hkdfSha256(chainKey, undefined, "cairn-msg-encrypt-v1", 32);
  const nonce = concatBytes(messageKey.subarray(0, 8), u32(0));
  const ciphertext = aes256Gcm.seal(messageKey, nonce, header, utf8("sorted"));
  const message = concatBytes(u32(header.length), header, ciphertext);
  deepEqual(ratchetDecrypt(responder, message, RESPONDER_1).plaintext, utf8("sorted"));
});

Deno.test("ratchetDecrypt refuses every changed bit and leaves the state as it was", () => {
  const { initiator, responder } = session();
  const { messages } = encryptMany(initiator, 2);
  const state = ratchetDecrypt(responder, messages[1]!, RESPONDER_1).state;
  const fresh = encryptMany(session().initiator, 3).messages[2]!;
  const before = structuredClone(state);
  fc.assert(fc.property(
    fc.constantFrom(messages[0]!, fresh),
    fc.nat(),
    fc.integer({ min: 1, max: 255 }),
    (message, position, flip) => {
      const changed = message.slice();
      changed[position % changed.length]! ^= flip;
      throws(() => ratchetDecrypt(state, changed, pairOf(9)), ProtocolError);
      deepEqual(state, before);
    },
  ));
  deepEqual(ratchetDecrypt(state, messages[0]!, pairOf(9)).plaintext, plaintextOf(0));
  deepEqual(ratchetDecrypt(state, fresh, pairOf(9)).plaintext, plaintextOf(2));
});

Deno.test("ratchetDecrypt refuses hostile headers before any key is derived", () => {
  const { responder } = session();
  const key = `[${"1,".repeat(31)}1]`;
  const header = (dh: string, previous: string, number: string) =>
    `{"dh_public":${dh},"prev_chain_len":${previous},"msg_num":${number}}`;
  const hostile = [
    "",
    "null",
    "7",
    "[]",
    "{}",
    "{",
    "\u0000",
    `{"dh_public":${key},"msg_num":0}`,
    header(`[${"1,".repeat(30)}1]`, "0", "0"),
    header(`[${"1,".repeat(32)}1]`, "0", "0"),
    header(`[${"256,".repeat(31)}1]`, "0", "0"),
    header(`[${"-1,".repeat(31)}1]`, "0", "0"),
    header(`[${'"1",'.repeat(31)}1]`, "0", "0"),
    header(`[${"0,".repeat(31)}0]`, "0", "0"),
    header('"AAAA"', "0", "0"),
    header("{}", "0", "0"),
    header(key, "-1", "0"),
    header(key, "0", "-0"),
    header(key, "0", "1.5"),
    header(key, "0", "1.0"),
    header(key, "0", "1e2"),
    header(key, "0", "1E2"),
    header(key, "0", "4294967296"),
    header(key, "4294967296", "0"),
    header(key, "0", "null"),
    header(key, "0", "true"),
    header(key, "0", '"0"'),
    header(key, "0", "[0]"),
    header(key, "0", "00"),
    header(key, "0", "0") + " ".repeat(512),
    header(key, "0", "0") + "x",
  ];
  for (const text of hostile) {
    const bytes = utf8(text);
    const message = concatBytes(u32(bytes.length), bytes, new Uint8Array(40));
    refuses("malformed", () => ratchetDecrypt(responder, message, RESPONDER_1), text);
  }
  const invalidUtf8 = concatBytes(u32(2), fromHex("c328"), new Uint8Array(40));
  refuses("malformed", () => ratchetDecrypt(responder, invalidUtf8, RESPONDER_1));
  const wellFormed = utf8(header(key, "4294967295", "0"));
  const tooShort = concatBytes(u32(wellFormed.length), wellFormed, new Uint8Array(15));
  refuses("malformed", () => ratchetDecrypt(responder, tooShort, RESPONDER_1));
  const forged = concatBytes(u32(wellFormed.length), wellFormed, new Uint8Array(16));
  refuses("decryption-failed", () => ratchetDecrypt(responder, forged, RESPONDER_1));
  const far = utf8(header(key, "0", "4294967295"));
  const farAhead = concatBytes(u32(far.length), far, new Uint8Array(16));
  refuses("too-large", () => ratchetDecrypt(responder, farAhead, RESPONDER_1));
});

Deno.test("ratchetDecrypt and decodeRatchetState throw nothing but ProtocolError on random bytes", () => {
  const { responder } = session();
  const encoded = encodeRatchetState(responder);
  const framed = fc.tuple(fc.string(), fc.uint8Array()).map(([text, rest]) =>
    concatBytes(u32(utf8(text).length), utf8(text), rest)
  );
  const damaged = fc.tuple(fc.nat(encoded.length - 1), fc.nat(255)).map(([position, byte]) =>
    encoded.with(position, byte)
  );
  fc.assert(fc.property(fc.oneof(framed, fc.uint8Array(), damaged), (bytes) => {
    for (
      const action of [
        () => ratchetDecrypt(responder, bytes, RESPONDER_1),
        () => decodeRatchetState(bytes),
      ]
    ) {
      try {
        action();
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    }
  }));
});

Deno.test("decodeRatchetState restores every stage and refuses another version", () => {
  const { initiator, responder } = session();
  const sent = encryptMany(initiator, 3);
  const received = ratchetDecrypt(responder, sent.messages[2]!, RESPONDER_1).state;
  for (const state of [session().initiator, responder, sent.state, received]) {
    deepEqual(decodeRatchetState(encodeRatchetState(state)), state);
  }
  const restored = decodeRatchetState(encodeRatchetState(received));
  deepEqual(ratchetDecrypt(restored, sent.messages[1]!, pairOf(9)).plaintext, plaintextOf(1));

  const other = encodeRatchetState(received);
  equal(toHex(other.subarray(0, 3)), "aa0001");
  other[2] = 2;
  refuses("unsupported-version", () => decodeRatchetState(other));
});

/**
 * What two peers may do over a network that delays, loses, repeats and damages. The model is the
 * list of messages in flight, each with its plaintext and whether it has been read.
 */
type Step =
  | { do: "send"; from: 0 | 1 }
  | { do: "deliver" | "damage"; which: number; at: number }
  | { do: "restart"; who: 0 | 1 };

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("send" as const), from: side() }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom("deliver" as const, "deliver" as const, "damage" as const),
        which: fc.nat(),
        at: fc.nat(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), who: side() }) },
  ),
  { minLength: 5, maxLength: 60 },
) satisfies fc.Arbitrary<Step[]>;

Deno.test("Double Ratchet delivers every message exactly once over any network", () => {
  fc.assert(fc.property(steps, runModel), { numRuns: 40 });
});

function runModel(steps: readonly Step[]): void {
  const { initiator, responder } = session();
  const states: [RatchetState, RatchetState] = [initiator, responder];
  const network: { to: 0 | 1; message: Uint8Array; plaintext: Uint8Array; read: boolean }[] = [];
  let seed = 0;
  const freshPair = () => x25519KeyPair(hkdfSha256(u32(seed++), undefined, "model", 32));

  for (const step of steps) {
    if (step.do === "send") {
      const state = states[step.from];
      // A responder that has not read anything yet has nothing to send with.
      if (!canSend(state)) continue;
      const plaintext = u32(network.length);
      const result = ratchetEncrypt(state, plaintext);
      states[step.from] = result.state;
      network.push({
        to: step.from === 0 ? 1 : 0,
        message: result.message,
        plaintext,
        read: false,
      });
    } else if (step.do === "restart") {
      states[step.who] = decodeRatchetState(encodeRatchetState(states[step.who]));
    } else {
      const entry = network[step.which % (network.length || 1)];
      if (entry === undefined) continue;
      const state = states[entry.to];
      const damaged = entry.message.with(
        step.at % entry.message.length,
        entry.message[step.at % entry.message.length]! ^ 0x11,
      );
      if (step.do === "damage") {
        const before = encodeRatchetState(state);
        throws(() => ratchetDecrypt(state, damaged, freshPair()), ProtocolError);
        deepEqual(encodeRatchetState(state), before);
      } else if (entry.read) {
        refuses("decryption-failed", () => ratchetDecrypt(state, entry.message, freshPair()));
      } else {
        const result = ratchetDecrypt(state, entry.message, freshPair());
        deepEqual(result.plaintext, entry.plaintext);
        states[entry.to] = result.state;
        entry.read = true;
      }
    }
  }
  // Whatever is still in flight arrives in the end, last first.
  for (const entry of network.toReversed().filter(({ read }) => !read)) {
    const result = ratchetDecrypt(states[entry.to], entry.message, freshPair());
    deepEqual(result.plaintext, entry.plaintext);
    states[entry.to] = result.state;
  }
  for (const { skipped } of states) equal(skipped.length, 0);
}

function side(): fc.Arbitrary<0 | 1> {
  return fc.constantFrom(0, 1);
}

function session(): { initiator: RatchetState; responder: RatchetState } {
  return {
    initiator: initiateRatchet(SHARED, RESPONDER_0.publicKey, INITIATOR_0),
    responder: respondRatchet(SHARED, RESPONDER_0),
  };
}

function plaintextOf(index: number): Uint8Array {
  return utf8(`message ${index}`);
}

function encryptMany(
  start: RatchetState,
  count: number,
): { state: RatchetState; messages: Uint8Array[] } {
  let state = start;
  const messages: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    const result = ratchetEncrypt(state, plaintextOf(index));
    messages.push(result.message);
    state = result.state;
  }
  return { state, messages };
}

function pairOf(fill: number): KeyPair {
  return x25519KeyPair(new Uint8Array(32).fill(fill));
}

function refuses(code: string, action: () => unknown, message?: string): void {
  throws(
    action,
    (error) => error instanceof ProtocolError && error.code === code,
    message,
  );
}
