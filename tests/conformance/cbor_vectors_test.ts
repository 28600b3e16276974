import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fromHex, toHex } from "../../src/base/bytes.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { selectVersion } from "../../src/protocol/session_messages.ts";

/*
 * The reference project's own vectors, read where they lie and never copied here. Without them
 * these tests show as ignored.
 */
const folder = Deno.env.get("CAIRN_VECTORS") ??
  new URL("../../../shared/vectors", import.meta.url).pathname;

interface Vector<Input, Output> {
  readonly id: string;
  readonly input: Input;
  readonly "expected_output": Output;
}

interface EnvelopeInput {
  readonly version: number;
  readonly "msg_type": string;
  readonly "msg_id_hex": string;
  readonly "session_id_hex": string | null;
  readonly "payload_hex": string;
  readonly "auth_tag_hex": string | null;
}

interface MessageTypeInput {
  readonly "msg_type_name": string;
  readonly "msg_type_code": string;
  readonly "msg_id_hex": string;
  readonly "payload_hex": string;
}

interface VersionInput {
  readonly "initiator_versions": number[];
  readonly "responder_versions": number[];
}

for (const file of ["cbor/envelope_encoding.json", "cbor/deterministic_encoding.json"]) {
  eachVector<EnvelopeInput, { cbor_hex: string }>(file, ({ input, expected_output: expected }) => {
    const bytes = fromHex(expected.cbor_hex);
    if (input.version !== 1) {
      // The reference carries any version; we speak one and refuse to guess at others.
      assert.throws(() => decodeEnvelope(bytes), { code: "unsupported-version" });
      return;
    }
    const envelope = {
      type: Number(input.msg_type),
      id: fromHex(input.msg_id_hex),
      ...(input.session_id_hex !== null && { sessionId: fromHex(input.session_id_hex) }),
      payload: fromHex(input.payload_hex),
      ...(input.auth_tag_hex !== null && { authTag: fromHex(input.auth_tag_hex) }),
    };
    assert.equal(toHex(encodeEnvelope(envelope)), expected.cbor_hex);
    assert.deepEqual(decodeEnvelope(bytes), envelope);
  });
}

eachVector<MessageTypeInput, { cbor_hex: string }>(
  "cbor/message_types.json",
  ({ input, expected_output: expected }) => {
    const name = input.msg_type_name.toLowerCase().replaceAll(
      /(^|_)(.)/g,
      (_match, _separator, letter: string) => letter.toUpperCase(),
    );
    const type = new Map<string, number>(Object.entries(MessageType)).get(name);
    assert.equal(type, Number(input.msg_type_code));
    const envelope = {
      type: Number(input.msg_type_code),
      id: fromHex(input.msg_id_hex),
      payload: fromHex(input.payload_hex),
    };
    assert.equal(toHex(encodeEnvelope(envelope)), expected.cbor_hex);
  },
);

eachVector<VersionInput, { selected_version: number | null; error: string | null }>(
  "protocol/version_negotiation.json",
  ({ input, expected_output: expected }) => {
    const select = () => selectVersion(input.initiator_versions, input.responder_versions);
    if (expected.error === null) assert.equal(select(), expected.selected_version);
    else assert.throws(select, { name: "ProtocolError", code: "unsupported-version" });
  },
);

function eachVector<Input, Output>(
  file: string,
  check: (vector: Vector<Input, Output>) => void,
): void {
  let vectors: Vector<Input, Output>[] | undefined;
  try {
    vectors = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")).vectors;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  const name = `the reference's ${file}`;
  if (!vectors) {
    Deno.test.ignore(`${name} (absent: set CAIRN_VECTORS)`, () => {});
    return;
  }
  assert.ok(vectors.length > 0);
  for (const vector of vectors) Deno.test(`${name}: ${vector.id}`, () => check(vector));
}
