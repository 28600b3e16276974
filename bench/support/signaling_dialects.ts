/** How a client says the same few things to each of the compared servers. */

import { LoadWebSocket } from "./load_web_socket.ts";

/** What a dialect tells the load: it may speak now, and what another client's message began with. */
export interface ClientEvents {
  onReady(): void;
  onDelivery(firstCharacter: number, secondCharacter: number, length: number): void;
  onEnd(why: string): void;
}

export interface ClientPlace {
  readonly port: number;
  /** Source address on loopback. */
  readonly source: number;
  /** Unique; 16 characters. */
  readonly id: string;
}

export interface SignalingClient {
  readonly socket: LoadWebSocket;
  subscribe(topic: string): void;
  /** `to` is a topic, or a client's id where the server knows only those. */
  publish(to: string, message: Message): void;
}

/** ASCII, so that it is the same payload as bytes and as JSON text. */
export class Message {
  readonly bytes: Uint8Array;
  constructor(readonly text: string) {
    this.bytes = encoder.encode(text);
  }
}

export type Dialect = (place: ClientPlace, events: ClientEvents) => SignalingClient;

/** Topics are 64 characters, lower-case hex, as cairn's. */
export const TOPIC_LENGTH = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NONE = {};

export function cairn(token: string): Dialect {
  const headers = {
    "Authorization": `Bearer ${token}`,
    "Sec-WebSocket-Protocol": "cairn.signal.v1",
  };
  return ({ port, source }, events) => {
    const socket = new LoadWebSocket({ port, path: "/", headers }, source, {
      onOpen: () => events.onReady(),
      onMessage: (bytes) => {
        const [length, start] = byteString(bytes, 88);
        events.onDelivery(bytes[start]!, bytes[start + 1]!, length);
      },
      onEnd: (why) => events.onEnd(why),
    });
    return {
      socket,
      subscribe: (topic) => socket.sendBinary(cairnFrame("\x69Subscribe", topic)),
      publish: (topic, { bytes }) => socket.sendBinary(cairnFrame("\x65Relay", topic, bytes)),
    };
  };
}

/** The bytes of wire_format.md 5.1, for topics of the one length; `kind` has its CBOR head. */
export function cairnFrame(kind: string, topic: string, payload?: Uint8Array): Uint8Array {
  const start = `\xa1${kind}${payload ? "\xa2" : "\xa1"}\x65topic\x78\x40${topic}`;
  const head = !payload
    ? ""
    : payload.length < 24
    ? `\x67payload${String.fromCharCode(0x40 | payload.length)}`
    : payload.length < 256
    ? `\x67payload\x58${String.fromCharCode(payload.length)}`
    : `\x67payload\x59${String.fromCharCode(payload.length >> 8, payload.length & 255)}`;
  const text = start + head;
  const frame = new Uint8Array(text.length + (payload?.length ?? 0));
  for (let i = 0; i < text.length; i++) frame[i] = text.charCodeAt(i);
  if (payload) frame.set(payload, text.length);
  return frame;
}

function byteString(bytes: Uint8Array, at: number): [length: number, start: number] {
  const head = bytes[at]!;
  if (head === 0x59) return [bytes[at + 1]! * 256 + bytes[at + 2]!, at + 3];
  return head === 0x58 ? [bytes[at + 1]!, at + 2] : [head & 0x1f, at + 1];
}

const PEERJS_TYPES: Readonly<Record<string, string>> = { O: "OFFER", A: "ANSWER" };

export const peerJs: Dialect = ({ port, source, id }, events) => {
  const path = `/peerjs?key=peerjs&id=${id}&token=${id}&version=1.5.5`;
  const socket = new LoadWebSocket({ port, path, headers: NONE }, source, {
    onOpen: () => {},
    onMessage: (bytes) => {
      const { type, payload } = JSON.parse(decoder.decode(bytes));
      if (type === "OPEN") return events.onReady();
      if (typeof payload !== "string") return events.onEnd(`a message of type ${type}`);
      events.onDelivery(payload.charCodeAt(0), payload.charCodeAt(1), payload.length);
    },
    onEnd: (why) => events.onEnd(why),
  });
  return {
    socket,
    subscribe: () => {},
    publish: (dst, { text }) => {
      const type = PEERJS_TYPES[text[0] ?? ""] ?? "CANDIDATE";
      socket.sendText(JSON.stringify({ type, dst, payload: text }));
    },
  };
};

export const yWebrtc: Dialect = ({ port, source, id }, events) => {
  const socket = new LoadWebSocket({ port, path: "/", headers: NONE }, source, {
    onOpen: () => events.onReady(),
    onMessage: (bytes) => {
      const { from, data } = JSON.parse(decoder.decode(bytes));
      // The server echoes.
      if (from === id) return;
      events.onDelivery(data.charCodeAt(0), data.charCodeAt(1), data.length);
    },
    onEnd: (why) => events.onEnd(why),
  });
  return {
    socket,
    subscribe: (topic) => socket.sendText(JSON.stringify({ type: "subscribe", topics: [topic] })),
    publish: (topic, { text }) =>
      socket.sendText(JSON.stringify({ type: "publish", topic, from: id, data: text })),
  };
};

export const nats: Dialect = ({ port, source }, events) => {
  const say = (text: string) => socket.sendBinary(encoder.encode(text));
  const stream = new MessageStream((bytes) => {
    const lineEnd = bytes.indexOf(10) + 1;
    if (lineEnd === 0) return 0;
    const line = decoder.decode(bytes.subarray(0, lineEnd));
    if (line.startsWith("MSG ")) {
      const length = Number(line.slice(line.lastIndexOf(" ") + 1));
      if (bytes.length < lineEnd + length + 2) return 0;
      events.onDelivery(bytes[lineEnd]!, bytes[lineEnd + 1]!, length);
      return lineEnd + length + 2;
    }
    if (line.startsWith("INFO ")) {
      say('CONNECT {"verbose":false,"pedantic":false,"echo":false,"protocol":1}\r\n');
      events.onReady();
    } else if (line.startsWith("PING")) say("PONG\r\n");
    else if (line.startsWith("-ERR")) events.onEnd(line);
    return lineEnd;
  });
  const socket = new LoadWebSocket({ port, path: "/", headers: NONE }, source, {
    onOpen: () => {},
    onMessage: (bytes) => stream.push(bytes),
    onEnd: (why) => events.onEnd(why),
  });
  return {
    socket,
    subscribe: (topic) => say(`SUB ${topic} 1\r\n`),
    publish: (topic, { text }) => say(`PUB ${topic} ${text.length}\r\n${text}\r\n`),
  };
};

const MQTT_HEADERS = { "Sec-WebSocket-Protocol": "mqtt" };
const NO_LOCAL = 4;

/** MQTT 5 (OASIS), QoS 0. */
export const mqtt: Dialect = ({ port, source, id }, events) => {
  const stream = new MessageStream((bytes) => {
    const [length, start] = mqttLength(bytes);
    if (start === 0 || bytes.length < start + length) return 0;
    const kind = bytes[0]! >> 4;
    if (kind === 2) events.onReady();
    else if (kind === 3) {
      const payload = start + 2 + bytes[start]! * 256 + bytes[start + 1]! + 1;
      events.onDelivery(bytes[payload]!, bytes[payload + 1]!, start + length - payload);
    } else if (kind === 14) events.onEnd("DISCONNECT");
    return start + length;
  });
  const socket = new LoadWebSocket({ port, path: "/", headers: MQTT_HEADERS }, source, {
    onOpen: () => socket.sendBinary(mqttPacket(0x10, `\0\x04MQTT\x05\x02\0\x3c\0${counted(id)}`)),
    onMessage: (bytes) => stream.push(bytes),
    onEnd: (why) => events.onEnd(why),
  });
  return {
    socket,
    subscribe: (topic) =>
      socket.sendBinary(
        mqttPacket(0x82, `\0\x01\0${counted(topic)}${String.fromCharCode(NO_LOCAL)}`),
      ),
    publish: (topic, { text }) => socket.sendBinary(mqttPacket(0x30, `${counted(topic)}\0${text}`)),
  };
};

function counted(text: string): string {
  return String.fromCharCode(text.length >> 8, text.length & 255) + text;
}

function mqttPacket(head: number, body: string): Uint8Array {
  const { length } = body;
  const lengths = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  const packet = new Uint8Array(1 + lengths.length + length);
  packet[0] = head;
  packet.set(lengths, 1);
  for (let i = 0; i < length; i++) packet[1 + lengths.length + i] = body.charCodeAt(i);
  return packet;
}

/** Remaining length (MQTT 5, section 1.5.5) and where it ends; 0 when it is not all there. */
function mqttLength(bytes: Uint8Array): [length: number, end: number] {
  let length = 0;
  for (let i = 1; i < Math.min(bytes.length, 5); i++) {
    length += (bytes[i]! & 127) * 128 ** (i - 1);
    if (bytes[i]! < 128) return [length, i + 1];
  }
  return [0, 0];
}

/** Cuts messages out of a stream that does not mind where WebSocket messages end. */
class MessageStream {
  #rest = new Uint8Array(0);

  /** `take` returns how many bytes the first message has, or 0 when it is not all there. */
  constructor(readonly take: (bytes: Uint8Array) => number) {}

  push(bytes: Uint8Array): void {
    let data = bytes;
    if (this.#rest.length > 0) {
      data = new Uint8Array(this.#rest.length + bytes.length);
      data.set(this.#rest);
      data.set(bytes, this.#rest.length);
    }
    for (let taken = 1; taken > 0 && data.length > 0;) {
      taken = this.take(data);
      data = data.subarray(taken);
    }
    this.#rest = data.slice();
  }
}
