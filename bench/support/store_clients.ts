/** One connection to a store, which gives it one message after another. */

import { systemHost } from "../../src/base/host.ts";
import { fromUtf8, toHex, utf8 } from "../../src/base/bytes.ts";
import type { Identity } from "../../src/protocol/crypto/identity.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { decodeForwardAck, encodeForwardRequest } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { messageId } from "../../src/protocol/uuid.ts";
import { initiateLink, type LinkConnection } from "../../src/roles/link_connection.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { connectWebSocket } from "../../src/roles/web_socket.ts";

/** Resolves `store` when the message is acknowledged. */
export interface StoreClient {
  store(body: Uint8Array): Promise<void>;
  close(): void;
}

/** A link of a paired peer; it writes to itself, and takes no deliveries. */
export async function cairnClients(
  port: number,
  server: PeerId,
  identity: Identity,
): Promise<StoreClient> {
  const link = await linkTo(port, server, identity, []);
  const waiting = new Map<string, () => void>();
  let sequence = 0;
  link.onEnvelope = ({ type, payload }) => {
    if (type !== MessageType.ForwardAck) return;
    const ack = decodeForwardAck(payload);
    if (!ack.accepted) throw new Error(`Refused: ${ack.rejectionReason}`);
    waiting.get(toHex(ack.msgId))?.();
  };
  return {
    async store(body) {
      const msgId = messageId(systemHost.now(), systemHost.random(10));
      const id = toHex(msgId);
      const acknowledged = new Promise<void>((resolve) => waiting.set(id, resolve));
      const request = encodeForwardRequest({
        msgId,
        recipient: identity.peerId,
        encryptedPayload: body,
        sequenceNumber: ++sequence,
      });
      link.send(MessageType.ForwardRequest, request);
      await acknowledged;
      waiting.delete(id);
    },
    close: () => link.close("going-away"),
  };
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
export async function redisClients(port: number): Promise<StoreClient> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  connection.setNoDelay(true);
  const stream = `s${crypto.randomUUID()}`;
  const answer = new Uint8Array(4_096);
  return {
    async store(body) {
      const head = `*5\r\n$4\r\nXADD\r\n$${stream.length}\r\n${stream}\r\n$1\r\n*\r\n$1\r\nd\r\n`;
      await writeAll(connection, [utf8(`${head}$${body.length}\r\n`), body, utf8("\r\n")]);
      const read = await connection.read(answer) ?? 0;
      if (answer[0] !== 0x24) throw new Error(fromUtf8(answer.subarray(0, read)));
    },
    close: () => connection.close(),
  };
}

/** A publication that JetStream acknowledges (docs.nats.io/reference/reference-protocols). */
export async function natsClients(port: number): Promise<StoreClient> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  connection.setNoDelay(true);
  const name = `s${toHex(systemHost.random(8))}`;
  const inbox = `_INBOX.${name}`;
  const answer = new Uint8Array(65_536);
  const ask = async (subject: string, body: Uint8Array, expected: RegExp) => {
    const head = utf8(`PUB ${subject} ${inbox} ${body.length}\r\n`);
    await writeAll(connection, [head, body, utf8("\r\n")]);
    let text = "";
    while (!/MSG [^\r]*\r\n[^\r]*\r\n/.test(text)) {
      text += fromUtf8(answer.subarray(0, await connection.read(answer) ?? 0));
    }
    if (!expected.test(text)) throw new Error(text);
  };
  await connection.read(answer);
  const hello = `CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${inbox} 1\r\n`;
  await writeAll(connection, [utf8(hello)]);
  const config = { name, subjects: [name], storage: "file", retention: "limits" };
  await ask(`$JS.API.STREAM.CREATE.${name}`, utf8(JSON.stringify(config)), /"did_create":true/);
  return {
    store: (body) => ask(name, body, /"seq":/),
    close: () => connection.close(),
  };
}

async function writeAll(connection: Deno.Conn, parts: readonly Uint8Array[]): Promise<void> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  for (let written = 0; written < bytes.length;) {
    written += await connection.write(bytes.subarray(written));
  }
}
