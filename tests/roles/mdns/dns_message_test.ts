import { deepEqual, equal, ok } from "node:assert/strict";
import { fromHex } from "../../../src/base/bytes.ts";
import { recordsOf, SERVICE } from "../../../src/protocol/mdns/local_record.ts";
import {
  decodeDnsMessage,
  encodeDnsQuery,
  encodeDnsReply,
} from "../../../src/roles/mdns/dns_message.ts";
import { Dice, mutated } from "../../support/dice.ts";

const NAME = "00112233445566778899aabbccddeeff00112233";
const ADDRESSES = ["192.168.1.20", "fd00::20"];
const RECORDS = recordsOf({ instance: NAME, port: 9_091, tls: true, addresses: ADDRESSES });
const REPLY = encodeDnsReply({ to: undefined, answers: RECORDS, additionals: [] });

Deno.test("DNS message: what is written is read", () => {
  deepEqual(decodeDnsMessage(REPLY)?.records, RECORDS);
  const query = decodeDnsMessage(encodeDnsQuery(SERVICE, "PTR"));
  deepEqual(query?.questions, [{ name: SERVICE, type: "PTR", isUnicast: false }]);
});

Deno.test("DNS message: a query as RFC 6762 has it, for an answer to the asker alone", () => {
  const message = decodeDnsMessage(
    fromHex(
      "000000000001000000000000065f636169726e045f746370056c6f63616c00000c8001",
    ),
  );
  deepEqual(message?.questions, [{ name: SERVICE, type: "PTR", isUnicast: true }]);
});

Deno.test("DNS message: a TXT record has one string at least, and only mDNS knows cache flush", () => {
  const plain = recordsOf({ instance: NAME, port: 1, tls: false, addresses: ["192.168.1.20"] });
  const reply = { to: undefined, answers: plain, additionals: [] };
  const txt = decodeDnsMessage(encodeDnsReply(reply))?.records.find(({ type }) => type === "TXT");
  deepEqual(txt?.type === "TXT" ? txt.entries : undefined, [""]);
  const questions = [{ name: SERVICE, type: "PTR", isUnicast: false }];
  const hex = (bytes: Uint8Array) => bytes.toHex();
  ok(hex(encodeDnsReply(reply)).includes("00018001"), "an A record says that it is all there is");
  const legacy = encodeDnsReply({ ...reply, query: { id: 0x1234, questions } });
  ok(!hex(legacy).includes("00018001"));
  equal(hex(legacy).slice(0, 4), "1234");
  equal(decodeDnsMessage(legacy)?.questions.length, 1);
});

Deno.test("DNS message: what is broken, too long or no answer is dropped", () => {
  const cases = {
    "nothing": "",
    "half a header": "000084000000",
    "65,535 answers promised": "0000840000 00ffff00000000".replaceAll(" ", "") + "00".repeat(3_000),
    "a name that points to itself": "000084000000000100000000c00c000c000100000078000000",
    "a name that points ahead": "000084000000000100000000c0ff000c000100000078000000",
    "a label beyond the end": "0000840000000001000000003f41",
    "another opcode": "0000a800000000000000" + "0000",
    "an error": "000084030000000000000000",
  };
  for (const [name, hex] of Object.entries(cases)) {
    equal(decodeDnsMessage(fromHex(hex)), undefined, name);
  }
  const long = new Uint8Array(5_000);
  long.set(REPLY);
  equal(decodeDnsMessage(long), undefined);
});

Deno.test("DNS message: noise and damaged messages are read or dropped, never more", () => {
  const dice = new Dice(1);
  for (let i = 0; i < 5_000; i++) {
    const { records = [] } = decodeDnsMessage(mutated(dice, [REPLY])) ?? {};
    ok(records.length <= 128);
  }
});
