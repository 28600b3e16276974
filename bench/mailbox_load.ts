// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * How fast a mailbox takes messages of 1 KiB in: each sender waits for the acknowledgement of one
 * message before it gives the next. Everything is in this process but the disk.
 *
 * `deno run -A bench/mailbox_load.ts [seconds for each line, default 3]`
 */

import { systemHost } from "../src/base/host.ts";
import { PeerId } from "../src/protocol/crypto/peer_id.ts";
import { messageId } from "../src/protocol/uuid.ts";
import { openDataFolder } from "../src/roles/data_folder.ts";
import { GroupCommit } from "../src/roles/group_commit.ts";
import { MailboxDesk } from "../src/roles/server/mailbox_desk.ts";
import { cpuMs, reportLine } from "./measured_times.ts";

const SECONDS = Number(Deno.args[0] ?? 3);
const BODY = systemHost.random(1_024);

const path = await Deno.makeTempDir({ prefix: "cairn-bench-" });
const folder = await openDataFolder({ path, kind: "server" });
const commit = new GroupCommit(folder.kv, folder.reserve);
const desk = await MailboxDesk.open({
  folder,
  commit,
  limits: {
    maxPerPeer: 1_000_000,
    maxAgeMs: 86_400_000,
    maxTotalBytes: 1024 ** 3,
    largestBody: 1_048_576,
  },
  isPaired: () => true,
  host: systemHost,
});

try {
  let records = 0;
  await load("one KV set of 1 KiB after another", 1, async () => {
    await folder.kv.set(["baseline", records++ % 1_000], BODY);
  });
  for (const senders of [1, 8, 64]) {
    const sequences = new Uint32Array(senders);
    const pairs = Array.from(sequences, (_, sender) => ({
      sender: peer(`sender ${sender} of ${senders}`),
      recipient: peer(`recipient ${sender} of ${senders}`),
    }));
    await load(`forward, ${senders} at once`, senders, async (index) => {
      const { sender, recipient } = pairs[index]!;
      const ack = await desk.forward(sender, {
        msgId: messageId(systemHost.now(), systemHost.random(10)),
        recipient,
        encryptedPayload: BODY,
        sequenceNumber: ++sequences[index]!,
      });
      if (!ack.accepted) throw new Error(`Refused: ${ack.rejectionReason}`);
    });
  }
} finally {
  await desk.close();
  await commit.close();
  await folder.close();
  await Deno.remove(path, { recursive: true });
}

/** Lets `callers` repeat `step` for a while, and prints how long one took and how many there were. */
async function load(
  name: string,
  callers: number,
  step: (caller: number) => Promise<void>,
): Promise<void> {
  const times: number[] = [];
  const start = performance.now();
  const cpuBefore = cpuMs();
  const end = start + SECONDS * 1_000;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() < end) {
        const before = performance.now();
        await step(caller);
        times.push(performance.now() - before);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  const cpu = (cpuMs() - cpuBefore) / times.length;
  console.log(
    `${reportLine(name, times)}  ${(times.length / seconds).toFixed(0)} per second, ` +
      `${cpu.toFixed(2)} ms of CPU each`,
  );
}

function peer(name: string): PeerId {
  return PeerId.ofPublicKey(new TextEncoder().encode(name));
}
