import { Buffer } from "node:buffer";
// @ts-types="@types/dns-packet"
import dnsPacket, { type Answer, type DecodedPacket, type RecordType } from "dns-packet";
import { readU16 } from "../../base/bytes.ts";
import {
  isShared,
  type LocalMessage,
  type LocalRecord,
  type Question,
} from "../../protocol/mdns/local_record.ts";
import type { Reply } from "../../protocol/mdns/responder.ts";

/** Bytes of a message that is read; RFC 6762 section 17 allows more, nobody needs it here. */
const MAX_MESSAGE = 4_096;
/** Questions and records of a message that is read. */
const MAX_ENTRIES = 128;
const HEADER_LENGTH = 12;
/** Where the header counts questions, answers, authorities and additionals. */
const COUNTS = [4, 6, 8, 10] as const;
/** Opcode and response code, which are to be ignored unless 0 (RFC 6762 sections 18.3 and 18.11). */
const NEITHER_QUERY_NOR_ANSWER = 0x780f;
/** The highest bit of a question's class (RFC 6762 section 5.4), with the class IN. */
const UNICAST_RESPONSE = "UNKNOWN_32769";

/** Reads a message; `undefined` for what is none, or is larger than it need be. */
export function decodeDnsMessage(bytes: Uint8Array): LocalMessage | undefined {
  if (bytes.length < HEADER_LENGTH || bytes.length > MAX_MESSAGE) return undefined;
  const entries = COUNTS.reduce((sum, offset) => sum + readU16(bytes, offset), 0);
  if (entries > MAX_ENTRIES) return undefined;
  if ((readU16(bytes, 2) & NEITHER_QUERY_NOR_ANSWER) !== 0) return undefined;
  const packet = decode(bytes);
  if (packet === undefined) return undefined;
  return {
    id: packet.id ?? 0,
    isResponse: packet.type === "response",
    isTruncated: packet.flag_tc,
    questions: (packet.questions ?? []).map(({ name, type, class: dnsClass }): Question => ({
      name,
      type,
      isUnicast: `${dnsClass}` === UNICAST_RESPONSE,
    })),
    records: [...packet.answers ?? [], ...packet.additionals ?? []].flatMap(readRecord),
  };
}

/** A query for the records of one type under one name. */
export function encodeDnsQuery(name: string, type: RecordType): Uint8Array {
  return dnsPacket.encode({ type: "query", questions: [{ name, type }] });
}

/** An answer. */
export function encodeDnsReply({ answers, additionals, query }: Reply): Uint8Array {
  const isLegacy = query !== undefined;
  return dnsPacket.encode({
    type: "response",
    id: query?.id ?? 0,
    flags: dnsPacket.AUTHORITATIVE_ANSWER,
    questions: (query?.questions ?? []).flatMap(({ name, type }) =>
      isAnswerable(type) ? [{ name, type }] : []
    ),
    answers: answers.map((record) => written(record, isLegacy)),
    additionals: additionals.map((record) => written(record, isLegacy)),
  });
}

function decode(bytes: Uint8Array): DecodedPacket | undefined {
  try {
    return dnsPacket.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch {
    // The library says in many ways that a message is malformed.
    return undefined;
  }
}

function isAnswerable(type: string): type is RecordType {
  return ["PTR", "SRV", "TXT", "A", "AAAA", "ANY"].includes(type);
}

/** The records of the class IN that service discovery needs. */
function readRecord(answer: Answer): LocalRecord[] {
  if (answer.type === "OPT" || answer.class !== "IN") return [];
  const { name, ttl = 0 } = answer;
  switch (answer.type) {
    case "PTR":
      return [{ type: answer.type, name, ttl, target: answer.data }];
    case "SRV":
      return [{ type: answer.type, name, ttl, target: answer.data.target, port: answer.data.port }];
    case "TXT":
      return [{ type: answer.type, name, ttl, entries: [answer.data].flat().map(String) }];
    case "A":
    case "AAAA":
      return [{ type: answer.type, name, ttl, address: answer.data }];
    default:
      return [];
  }
}

/** `flush` says that this is all there is; only those who know mDNS understand it. */
function written(record: LocalRecord, isLegacy: boolean): Answer {
  const { name, ttl } = record;
  const shape = { name, ttl, flush: !isLegacy && !isShared(record) };
  switch (record.type) {
    case "PTR":
      return { ...shape, type: record.type, data: record.target };
    case "SRV":
      return { ...shape, type: record.type, data: { port: record.port, target: record.target } };
    case "TXT":
      // A TXT record has one string at least (RFC 6763 section 6.1).
      return {
        ...shape,
        type: record.type,
        data: record.entries.length > 0 ? [...record.entries] : "",
      };
    default:
      return { ...shape, type: record.type, data: record.address };
  }
}
