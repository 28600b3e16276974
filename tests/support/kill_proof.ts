/** The mailbox's proof with real processes, which are killed while messages pass. */

import { MessageType } from "../../src/protocol/message_types.ts";
import { TestHost } from "../roles/server/mailbox_scene.ts";
import { CrashScene, texts } from "./crash_scene.ts";

/** Messages of each sender between two kills. */
const MESSAGES = 6;

/**
 * Two senders write to one reader; the server and one of the senders are killed in turn. Resolves to
 * how many messages were sent.
 *
 * @throws {AssertionError} when one was lost, printed twice or out of order, or a key of the ratchet
 * met two plaintexts.
 */
export async function proveKills(
  { seed, kills }: { seed: number; kills: number },
): Promise<number> {
  const dice = new TestHost(seed);
  await using scene = await CrashScene.open(["alice", "bob", "carol"], 60 + 30 * kills);
  const { alice, bob, carol } = scene.peers;
  const atAlice = await alice.listenOnline();
  let atCarol = await carol.listenOnline();
  for (let kill = 0; kill < kills; kill++) {
    const passing = alice.proxy.nextOf("down", MessageType.ForwardAck);
    const handedOver = [alice, carol].map((sender) =>
      sender.handOver(bob, texts(`${sender.name} ${kill}`, MESSAGES))
    );
    await passing;
    for (let turns = dice.pick(6); turns > 0; turns--) await scene.server.turn();
    if (kill % 2 === 0) {
      await scene.server.kill();
      await Promise.all(handedOver);
      await scene.server.start();
    } else {
      await Promise.all(handedOver);
      await carol.kill(atCarol);
      atCarol = await carol.listenOnline();
    }
  }
  await alice.kill(atAlice);
  await carol.kill(atCarol);
  // What is sent last is accepted last.
  for (const sender of [alice, carol]) await sender.sendAccepted(bob, `${sender.name} at last`);
  await bob.readAll();
  await scene.assertAllArrived();
  return 2 * (kills * MESSAGES + 1);
}
