import { deepEqual, equal, ok } from "node:assert/strict";
import {
  ALL_SERVICES,
  type LocalMessage,
  type LocalRecord,
  type Question,
  recordsOf,
  SERVICE,
} from "../../../src/protocol/mdns/local_record.ts";
import { Responder } from "../../../src/protocol/mdns/responder.ts";

const NAME = "00112233445566778899aabbccddeeff00112233";
const RECORDS = recordsOf({ instance: NAME, port: 9_091, tls: false, addresses: ["192.168.1.20"] });
const POINTER = RECORDS.filter(({ name }) => name === SERVICE);
const PEER = { address: "192.168.1.30", port: 5_353 };

function responder(): Responder {
  const made = new Responder();
  made.records = RECORDS;
  return made;
}

function query(message: Partial<LocalMessage> = {}, type = "PTR", name = SERVICE): LocalMessage {
  const questions: Question[] = [{ name, type, isUnicast: false }];
  return { id: 0, isResponse: false, isTruncated: false, questions, records: [], ...message };
}

const types = (records: readonly LocalRecord[] = []) => records.map(({ type }) => type);

Deno.test("mDNS: who asks for the service gets all of the instance in one answer, after a while", () => {
  const server = responder();
  server.take(query(), PEER, 1_000, 0.5);
  equal(server.due, 1_070, "20 to 120 ms later");
  deepEqual(server.replies(1_069), []);
  const [reply, ...others] = server.replies(1_070);
  deepEqual(others, []);
  equal(reply?.to, undefined, "everybody hears it");
  deepEqual(reply?.answers, POINTER);
  deepEqual(types(reply?.additionals), ["SRV", "TXT", "A"]);
  equal(server.due, undefined);
});

Deno.test("mDNS: what only this server can answer is answered at once", () => {
  for (const [type, name] of [["SRV", `${NAME}.${SERVICE}`], ["A", `${NAME}.local`]] as const) {
    const server = responder();
    server.take(query({}, type, name.toUpperCase()), PEER, 5, 0.9);
    deepEqual(server.replies(5).map(({ answers }) => types(answers)), [[type]]);
  }
});

Deno.test("mDNS: the list of all services names this one, and no instance", () => {
  const server = responder();
  server.take(query({}, "PTR", ALL_SERVICES), PEER, 0, 0);
  const [reply] = server.replies(20);
  deepEqual([types(reply?.answers), reply?.additionals], [["PTR"], []]);
});

Deno.test("mDNS: an answer that everybody heard a moment ago is not repeated", () => {
  const server = responder();
  server.take(query(), PEER, 0, 0);
  equal(server.replies(20).length, 1);
  server.take(query(), { ...PEER, address: "192.168.1.31" }, 900, 0);
  equal(server.replies(920).length, 0);
  server.take(query(), PEER, 1_100, 0);
  equal(server.replies(1_120).length, 1);
});

Deno.test("mDNS: an answer that the asker has is left out, if it is good for half its time", () => {
  for (const [ttl, count] of [[4_500, 0], [2_250, 0], [2_249, 1]] as const) {
    const server = responder();
    server.take(query({ records: POINTER.map((record) => ({ ...record, ttl })) }), PEER, 0, 0);
    equal(server.replies(200).length, count);
  }
});

Deno.test("mDNS: known answers that follow in a second message count, those of others do not", () => {
  const known = query({ questions: [], records: POINTER });
  for (
    const [sender, count] of [[PEER, 0], [{ ...PEER, address: "192.168.1.66" }, 1]] as const
  ) {
    const server = responder();
    server.take(query({ isTruncated: true }), PEER, 0, 0);
    ok((server.due ?? 0) >= 400);
    server.take(known, sender, 100, 0);
    equal(server.replies(500).length, count);
  }
});

Deno.test("mDNS: who asks for a unicast answer gets one, once everybody has been told", () => {
  const server = responder();
  const questions = [{ name: SERVICE, type: "PTR", isUnicast: true }];
  server.take(query({ questions }), PEER, 0, 0);
  equal(server.replies(20)[0]?.to, undefined);
  server.take(query({ questions }), PEER, 60_000, 0);
  deepEqual(server.replies(60_020)[0]?.to, PEER);
});

Deno.test("mDNS: who does not speak mDNS gets an answer that ordinary DNS understands", () => {
  const server = responder();
  const asker = { address: "192.168.1.30", port: 40_000 };
  const [asked] = query().questions;
  const long = { name: "long.".repeat(50), type: "PTR", isUnicast: false };
  const others = new Array<Question>(31).fill(long);
  server.take(query({ id: 7, questions: [asked!, ...others] }), asker, 0, 0);
  const [reply] = server.replies(20);
  deepEqual(reply?.to, asker);
  equal(reply?.query?.id, 7);
  deepEqual(reply?.query?.questions, [asked], "what is not answered is not repeated");
  ok([...reply?.answers ?? [], ...reply?.additionals ?? []].every(({ ttl }) => ttl <= 10));
});

Deno.test("mDNS: who asks from port 0, where nothing can be sent to, is not answered", () => {
  const server = responder();
  server.take(query(), { ...PEER, port: 0 }, 0, 0);
  equal(server.due, undefined);
});

Deno.test("mDNS: responses, other services and a flood of queries are not answered", () => {
  const server = responder();
  server.take({ ...query(), isResponse: true }, PEER, 0, 0);
  server.take(query({}, "PTR", "_http._tcp.local"), PEER, 0, 0);
  server.take(query({}, "AAAA", `${NAME}.local`), PEER, 0, 0);
  const many = Array.from({ length: 33 }, () => ({ name: SERVICE, type: "PTR", isUnicast: false }));
  server.take(query({ questions: many }), PEER, 0, 0);
  equal(server.due, undefined);
  for (let i = 0; i < 1_000; i++) {
    server.take(query(), { address: "192.168.1.66", port: 1_024 + i }, 0, 0);
  }
  equal(server.replies(1_000).length, 32);
});
