// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * A server for whose peers much waits: how much memory it takes, how soon it is up, and how fast a
 * peer gets what waits for it.
 *
 * `deno run -A bench/mailbox_waiting.ts [peers, default 100] [messages for each, default 10000]`
 */

import { WebSocket } from "ws";
import { systemHost } from "../src/base/host.ts";
import { Identity } from "../src/protocol/crypto/identity.ts";
import type { PeerId } from "../src/protocol/crypto/peer_id.ts";
import { decodeForwardDeliver, encodeForwardPurge } from "../src/protocol/forward_messages.ts";
import { MessageType } from "../src/protocol/message_types.ts";
import { messageId } from "../src/protocol/uuid.ts";
import { openDataFolder } from "../src/roles/data_folder.ts";
import { GroupCommit } from "../src/roles/group_commit.ts";
import { MailboxDesk } from "../src/roles/server/mailbox_desk.ts";
import { cpuSeconds, residentBytes } from "./support/process_usage.ts";
import { linkTo } from "./support/store_clients.ts";
import { freePort } from "../tests/support/free_port.ts";
import { pairAll, startCairn } from "./support/store_servers.ts";

const PEERS = Number(Deno.args[0] ?? 100);
const MESSAGES = Number(Deno.args[1] ?? 10_000);
// The built-in client holds small frames back for 40 ms (no TCP_NODELAY); the server is measured here.
Object.assign(globalThis, { WebSocket });
const BODY = systemHost.random(1_024);
const MIB = 1_048_576;

const path = await Deno.makeTempDir({ prefix: "cairn-bench-" });
try {
  const identities = Array.from({ length: PEERS }, () => Identity.fromSeed(systemHost.random(32)));
  const peers = identities.map(({ peerId }) => peerId);
  const server = await pairAll(path, peers);
  const before = performance.now();
  await fill(peers);
  console.log(`${PEERS} x ${MESSAGES} messages of 1 KiB, stored in ${seconds(before)} s`);
  console.log(`the store has ${((await Deno.stat(`${path}/cairn.kv`)).size / MIB).toFixed(0)} MiB`);
  const port = freePort();
  const starting = performance.now();
  const process = await startCairn(path, port);
  console.log(`up after ${seconds(starting)} s, ${memory(process.pid)} in memory`);
  for (const count of [1, 10]) {
    const cpu = cpuSeconds(process.pid);
    const draining = performance.now();
    const readers = identities.splice(0, count);
    await Promise.all(readers.map((reader) => drain(port, server, reader)));
    const passed = (performance.now() - draining) / 1_000;
    const each = 1e6 * (cpuSeconds(process.pid) - cpu) / (count * MESSAGES);
    console.log(
      `${count} at once: ${(count * MESSAGES / passed).toFixed(0)} per second, ` +
        `${each.toFixed(0)} us of the server's CPU each, ${memory(process.pid)} in memory`,
    );
  }
  await process.stop();
} finally {
  await Deno.remove(path, { recursive: true });
}

/** Each peer has written to the one behind it. */
async function fill(peers: readonly PeerId[]): Promise<void> {
  const folder = await openDataFolder({ path, kind: "server" });
  const commit = new GroupCommit(folder.kv, folder.reserve);
  const desk = await MailboxDesk.open({
    folder,
    commit,
    limits: {
      maxPerPeer: MESSAGES,
      maxAgeMs: 86_400_000,
      maxTotalBytes: 8 * 1024 ** 3,
      largestBody: MIB,
    },
    isPaired: () => true,
    host: systemHost,
  });
  await Promise.all(peers.map(async (from, index) => {
    const recipient = peers[(index + 1) % peers.length]!;
    for (let sequenceNumber = 1; sequenceNumber <= MESSAGES; sequenceNumber++) {
      const msgId = messageId(systemHost.now(), systemHost.random(10));
      const ack = await desk.forward(from, {
        msgId,
        recipient,
        encryptedPayload: BODY,
        sequenceNumber,
      });
      if (!ack.accepted) throw new Error(`Refused: ${ack.rejectionReason}`);
    }
  }));
  await desk.close();
  await commit.close();
  await folder.close();
}

/** Takes and purges all that waits for one peer. */
async function drain(port: number, server: PeerId, reader: Identity): Promise<void> {
  const link = await linkTo(port, server, reader, ["receive"]);
  const drained = Promise.withResolvers<void>();
  let msgIds: Uint8Array[] = [];
  link.onEnvelope = ({ type, payload }) => {
    if (type === MessageType.MailboxDrained) drained.resolve();
    if (type !== MessageType.ForwardDeliver) return;
    msgIds.push(decodeForwardDeliver(payload).msgId.slice());
    if (msgIds.length === 1) setTimeout(purge);
  };
  const purge = () => {
    link.send(MessageType.ForwardPurge, encodeForwardPurge({ msgIds, failed: [] }));
    msgIds = [];
  };
  await drained.promise;
  link.close("going-away");
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(2);
}

function memory(pid: number): string {
  return `${(residentBytes(pid) / MIB).toFixed(0)} MiB`;
}
