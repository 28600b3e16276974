/**
 * One connection to a store, which gives it one message after another. What is given is made ready
 * before the clock starts, and answers are only counted while it runs: the load shares the machine
 * with the store.
 */

import { systemHost } from "../../src/base/host.ts";
import { concatBytes, equalBytes, fromUtf8, toHex, utf8 } from "../../src/base/bytes.ts";
import type { Identity } from "../../src/protocol/crypto/identity.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { decodeForwardAck, encodeForwardRequest } from "../../src/protocol/forward_messages.ts";
import { type Link, LinkHandshake } from "../../src/protocol/link/link.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { messageId } from "../../src/protocol/uuid.ts";
import { initiateLink, type LinkConnection } from "../../src/roles/link_connection.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { connectWebSocket } from "../../src/roles/web_socket.ts";
import { EpollSocket } from "./epoll_sockets.ts";
import { LoadWebSocket, maskedBinary } from "./load_web_socket.ts";

const EMPTY = new Uint8Array(0);
const NATS_PING = utf8("PING\r\n");
const LOOPBACK = 0x7f000001;
const LINK = { path: "/link", headers: { "Sec-WebSocket-Protocol": "cairn.link.v1" } };

/** A sender with one connection. */
export interface StoreClient {
  /** Resolves when messages can be given. */
  readonly ready: Promise<void>;
  /** Makes `count` more messages ready to be given. */
  prepare(body: Uint8Array, count: number): void;
  /** Gives the next message; false when none is ready. */
  give(): boolean;
  /** Called when the message that was given is acknowledged. */
  onAcknowledged: () => void;
  /** @throws {Error} unless every answer so far was an acceptance. */
  check(): void;
  close(): void;
}

/** A link of a paired peer; it writes to itself, and takes no deliveries. */
export function cairnClient(port: number, server: PeerId, identity: Identity): StoreClient {
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  const handshake = new LinkHandshake("initiator", {
    identity,
    linkKey: new LinkKeys(identity, systemHost).current(),
    ephemeralPair: x25519KeyPair(systemHost.random(32)),
    capabilities: [],
    expectedPeer: server,
  });
  const startedAt = systemHost.now();
  const frames: Uint8Array<ArrayBuffer>[] = [];
  const answers: Uint8Array[] = [];
  let link: Link | undefined;
  let given = 0;
  let acknowledged = 0;
  let sequence = 0;
  const socket = new LoadWebSocket({ port, ...LINK }, LOOPBACK, {
    onOpen: () => socket.sendBinary(handshake.start()),
    onMessage(bytes) {
      if (link === undefined) {
        const { reply, link: made } = handshake.receive(bytes.slice(), systemHost.now());
        if (reply !== undefined) socket.sendBinary(reply);
        link = made;
        return;
      }
      answers.push(bytes.slice());
      // The mailbox's status, and who else is there.
      if (frames.length === 0) resolve();
      else client.onAcknowledged();
    },
    onEnd: (why) => reject(new Error(`The link ended: ${why}`)),
  });
  const client: StoreClient = {
    ready,
    onAcknowledged: () => {},
    prepare(body, count) {
      for (let i = 0; i < count; i++) {
        // As if given one after the other, not within one millisecond.
        const msgId = messageId(startedAt + sequence, systemHost.random(10));
        const payload = encodeForwardRequest({
          msgId,
          recipient: identity.peerId,
          encryptedPayload: body,
          sequenceNumber: ++sequence,
        });
        const envelope = encodeEnvelope({ type: MessageType.ForwardRequest, id: msgId, payload });
        for (const frame of link?.seal(envelope) ?? []) frames.push(maskedBinary(frame));
      }
    },
    give() {
      const frame = frames[given];
      if (frame === undefined) return false;
      frames[given++] = EMPTY;
      socket.sendMasked(frame);
      return true;
    },
    check() {
      for (const answer of answers.splice(0)) {
        const { type, payload } = decodeEnvelope(link?.open(answer) ?? EMPTY);
        if (type !== MessageType.ForwardAck) continue;
        const { accepted, rejectionReason } = decodeForwardAck(payload);
        if (!accepted) throw new Error(`Refused: ${rejectionReason}`);
        acknowledged++;
      }
      if (acknowledged !== given) throw new Error("What was counted was no acknowledgement");
    },
    close: () => socket.close(),
  };
  return client;
}

/** A link to a server whose book has this identity. */
export async function linkTo(
  port: number,
  server: PeerId,
  identity: Identity,
  capabilities: readonly string[],
): Promise<LinkConnection> {
  const socket = await connectWebSocket(`ws://127.0.0.1:${port}/link`, {
    protocols: ["cairn.link.v1"],
  });
  const link = await initiateLink(socket, {
    identity,
    keys: new LinkKeys(identity, systemHost),
    capabilities,
    host: systemHost,
    heartbeat: 30_000,
  }, { expectedPeer: server });
  link.trustRemote();
  return link;
}

/** `XADD` (redis.io/docs/latest/commands/xadd) over RESP. */
export function redisClient(port: number): StoreClient {
  const stream = `s${crypto.randomUUID()}`;
  return textClient(port, {
    greeting: "",
    isReady: () => true,
    encode(body) {
      const head = `*5\r\n$4\r\nXADD\r\n$${stream.length}\r\n${stream}\r\n$1\r\n*\r\n$1\r\nd\r\n`;
      return concatBytes(utf8(`${head}$${body.length}\r\n`), body, utf8("\r\n"));
    },
    accepted: /^\$\d+\r\n[\d-]+\r\n$/,
  });
}

/** A publication that JetStream acknowledges (docs.nats.io/reference/reference-protocols). */
export function natsClient(port: number): StoreClient {
  const name = `s${toHex(systemHost.random(8))}`;
  const inbox = `_INBOX.${name}`;
  const config = JSON.stringify({ name, subjects: [name], storage: "file", retention: "limits" });
  return textClient(port, {
    greeting: `CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${inbox} 1\r\n` +
      `PUB $JS.API.STREAM.CREATE.${name} ${inbox} ${config.length}\r\n${config}\r\n`,
    isReady: (text) => /"did_create":true.*\r\n$/.test(text),
    encode: (body) =>
      concatBytes(utf8(`PUB ${name} ${inbox} ${body.length}\r\n`), body, utf8("\r\n")),
    accepted: /^MSG [^\r]*\r\n[^\r]*"seq":[^\r]*\r\n(PING\r\n)?$/,
  });
}

/** A protocol whose answers are short texts: one answer for each message, in one read. */
function textClient(port: number, { greeting, isReady, encode, accepted }: {
  greeting: string;
  isReady(text: string): boolean;
  encode(body: Uint8Array): Uint8Array<ArrayBuffer>;
  accepted: RegExp;
}): StoreClient {
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  const answers: Uint8Array[] = [];
  let message: Uint8Array<ArrayBuffer> = EMPTY;
  let left = 0;
  let hello: string | undefined = "";
  const begin = () => {
    hello = undefined;
    resolve();
  };
  const socket = new EpollSocket(port, LOOPBACK, {
    onOpen() {
      socket.send(utf8(greeting));
      if (greeting === "") begin();
    },
    onData(bytes) {
      if (hello !== undefined) {
        hello += fromUtf8(bytes);
        if (isReady(hello)) begin();
        return;
      }
      let answer = bytes.slice();
      if (startsWith(answer, NATS_PING)) {
        socket.send(utf8("PONG\r\n"));
        answer = answer.subarray(NATS_PING.length);
        if (answer.length === 0) return;
      }
      answers.push(answer);
      client.onAcknowledged();
    },
    onEnd: () => reject(new Error("The connection ended")),
  });
  const client: StoreClient = {
    ready,
    onAcknowledged: () => {},
    prepare(body, count) {
      message = encode(body);
      left += count;
    },
    give() {
      if (left === 0) return false;
      left--;
      socket.send(message);
      return true;
    },
    check() {
      for (const answer of answers.splice(0).map(fromUtf8)) {
        if (!accepted.test(answer)) throw new Error(`Refused: ${answer}`);
      }
    },
    close: () => socket.close(),
  };
  return client;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, start.length), start);
}
